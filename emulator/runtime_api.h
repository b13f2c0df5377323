// The few calls of CUDA's runtime that csrc makes, answered from emulator::device(). What is set
// for a kernel on a device stays set for all threads (runtime_api.cpp).
#pragma once

#include <stddef.h>
#include <string.h>

#include "emulator.h"
#include "order.h"

#define CUDART_VERSION 13000

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInsufficientDriver = 35,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNoDevice = 100,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorInvalidPtx = 218,
  cudaErrorJitCompilerNotFound = 221,
  cudaErrorUnsupportedPtxVersion = 222,
  cudaErrorJitCompilationDisabled = 223,
  cudaErrorLaunchFailure = 719,  // its text is what the emulator found
};
typedef struct CUstream_st* cudaStream_t;

namespace planet::cuda::emulator {

// Dynamic shared memory that a block of this kernel may have on the present device.
int shared_memory_limit(const void* kernel);
void set_shared_memory_limit(const void* kernel, int bytes);
const char* too_much_shared_memory(size_t bytes, int limit);
void count(int Asked::* call);

// Of the calling thread's last launch.
inline thread_local const char* launch_failure = nullptr;

}  // namespace planet::cuda::emulator

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorNoKernelImageForDevice:
      return "no kernel image is available for execution on the device";
    case cudaErrorUnsupportedPtxVersion:
      return "the provided PTX was compiled with an unsupported toolchain.";
    case cudaErrorLaunchFailure:
      return planet::cuda::emulator::launch_failure;
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
  *device = planet::cuda::emulator::device().number;
  return planet::cuda::emulator::device().count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = planet::cuda::emulator::device().driver;
  return cudaSuccess;
}

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
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
    case cudaDevAttrComputeCapabilityMinor:
      *value = device.minor;
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

inline cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value > planet::cuda::emulator::device().shared_per_block) return cudaErrorInvalidValue;
  planet::cuda::emulator::set_shared_memory_limit(kernel, value);
  return cudaSuccess;
}

struct cudaFuncAttributes {
  int ptxVersion, binaryVersion;
};

inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  const planet::cuda::emulator::Device& device = planet::cuda::emulator::device();
  planet::cuda::emulator::count(&planet::cuda::emulator::Asked::attributes);
  if (device.ptx_version < 0) return static_cast<cudaError_t>(-device.ptx_version);
  const int own = 10 * device.major + device.minor;
  *attributes = {device.ptx_version > 0 ? device.ptx_version : own, own};
  return cudaSuccess;
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

inline int cluster_size(const cudaLaunchConfig_t& config) {
  for (unsigned int i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id == cudaLaunchAttributeClusterDimension) {
      return static_cast<int>(config.attrs[i].val.clusterDim.x);
    }
  }
  return 1;
}

// As if clusters fitted wherever there are multiprocessors, unless the device says how many.
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel* kernel,
                                           const cudaLaunchConfig_t* config) {
  namespace emulator = planet::cuda::emulator;
  const emulator::Device& device = emulator::device();
  emulator::count(&emulator::Asked::occupancies);
  if (device.major < 9) return cudaErrorInvalidValue;
  const int limit = emulator::shared_memory_limit(reinterpret_cast<const void*>(kernel));
  const bool fits = config->dynamicSmemBytes <= static_cast<size_t>(limit);
  *clusters = !fits                        ? 0
              : device.active_clusters > 0 ? device.active_clusters
                                           : device.multiprocessors / cluster_size(*config);
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  namespace emulator = planet::cuda::emulator;
  const size_t bytes = config->dynamicSmemBytes;
  const int limit = emulator::shared_memory_limit(reinterpret_cast<const void*>(kernel));
  if (bytes > static_cast<size_t>(limit)) {
    emulator::launch_failure = emulator::too_much_shared_memory(bytes, limit);
    return cudaErrorLaunchFailure;
  }
  bool cooperative = false;
  for (unsigned int i = 0; i < config->numAttrs; ++i) {
    cooperative |= config->attrs[i].id == cudaLaunchAttributeCooperative &&
                   config->attrs[i].val.cooperative != 0;
  }
  emulator::launch_failure =
      emulator::launch(config->gridDim, config->blockDim, bytes, config->stream,
                       cluster_size(*config), cooperative, [=] { kernel(arguments...); });
  return emulator::launch_failure == nullptr ? cudaSuccess : cudaErrorLaunchFailure;
}

inline cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes,
                                   cudaStream_t stream = nullptr) {
  planet::cuda::emulator::host_writes(target, bytes, stream);
  memset(target, value, bytes);
  return cudaSuccess;
}
