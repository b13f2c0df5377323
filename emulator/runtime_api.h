// The few calls of CUDA's runtime that csrc makes, answered from emulator::device().
#pragma once

#include <stddef.h>
#include <string.h>

#include "emulator.h"

#define CUDART_VERSION 13000

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
};
typedef struct CUstream_st* cudaStream_t;

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    default:
      return "invalid argument";
  }
}

inline cudaError_t cudaGetDeviceCount(int* count) {
  const planet::cuda::emulator::Device& device = planet::cuda::emulator::device();
  *count = device.count;
  if (device.driver < CUDART_VERSION) return cudaErrorInsufficientDriver;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return planet::cuda::emulator::device().count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = planet::cuda::emulator::device().driver;
  return cudaSuccess;
}

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const planet::cuda::emulator::Device& device = planet::cuda::emulator::device();
  if (device.count == 0) return cudaErrorNoDevice;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = device.multiprocessors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = device.major;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = device.shared_per_block;
      break;
    default:
      return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  return value <= planet::cuda::emulator::device().shared_per_block ? cudaSuccess
                                                                    : cudaErrorInvalidValue;
}

enum cudaLaunchAttributeID {
  cudaLaunchAttributeCooperative = 2,
  cudaLaunchAttributeClusterDimension = 4,
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    struct {
      unsigned int x, y, z;
    } clusterDim;
    int cooperative;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned int numAttrs;
};

// As if clusters fitted wherever there are multiprocessors, unless the device says how many.
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel*,
                                           const cudaLaunchConfig_t* config) {
  const planet::cuda::emulator::Device& device = planet::cuda::emulator::device();
  unsigned int size = 1;
  for (unsigned int i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id == cudaLaunchAttributeClusterDimension) {
      size = config->attrs[i].val.clusterDim.x;
    }
  }
  if (device.major < 9) return cudaErrorInvalidValue;
  const bool fits = config->dynamicSmemBytes <= static_cast<size_t>(device.shared_per_block);
  *clusters = !fits                        ? 0
              : device.active_clusters > 0 ? device.active_clusters
                                           : device.multiprocessors / static_cast<int>(size);
  return cudaSuccess;
}

inline cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t = nullptr) {
  memset(target, value, bytes);
  return cudaSuccess;
}
