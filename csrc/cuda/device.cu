#include "device.h"

#include <cuda_runtime.h>
#include <stdio.h>

#include <string>

#include "facts.h"

namespace planet::cuda {
namespace {

constexpr int kOldestMajor = 8;  // compute capability: asynchronous copies, bf16 matrix units

// The driver and this build name versions as 1000 major + 10 minor.
const char* driver_too_old(int driver) {
  // Drivers do not change while a process runs, so the first text is everybody's.
  static char text[160];
  static const int written = snprintf(
      text, sizeof text,
      "the NVIDIA driver is too old: it supports CUDA %d.%d, this build needs CUDA %d.%d "
      "or newer; update the driver",
      driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  (void)written;
  return text;
}

// Compiled for what all kernels are compiled for.
__global__ void probe() {}

// Whether an error says that a kernel has no code for a device, or none that its driver translates.
// cudaFuncGetAttributes calls the former an invalid function, a launch a missing image.
bool lacks_code(cudaError_t error) {
  return error == cudaErrorInvalidDeviceFunction || error == cudaErrorNoKernelImageForDevice ||
         error == cudaErrorInvalidPtx || error == cudaErrorUnsupportedPtxVersion ||
         error == cudaErrorJitCompilerNotFound || error == cudaErrorJitCompilationDisabled;
}

cudaError_t ask_refusal(int device, std::string& refusal) {
  int major = 0, minor = 0;
  cudaError_t status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  }
  if (status != cudaSuccess) return status;
  if (major < kOldestMajor) {
    refusal = "this GPU is too old: the planner needs compute capability 8.0 (Ampere) or newer";
    return cudaSuccess;
  }
  cudaFuncAttributes code{};
  status = cudaFuncGetAttributes(&code, reinterpret_cast<const void*>(&probe));
  if (!lacks_code(status)) return status;
  char text[400];
  snprintf(text, sizeof text,
           "the build (%s) does not run on this GPU of compute capability %d.%d: %s; build planet "
           "with PLANET_CUDA_ARCHS=%d%d-real",
           built_architectures(), major, minor, cudaGetErrorString(status), major, minor);
  refusal = text;
  return cudaSuccess;
}

}  // namespace

int device_count(const char** error) {
  int count = 0;
  *error = nullptr;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    *error = "no NVIDIA driver found";
  } else if (status == cudaErrorInsufficientDriver) {
    *error = driver_too_old(driver);
  } else if (status == cudaSuccess || status == cudaErrorNoDevice) {
    *error = "the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set?)";
  } else {
    *error = cudaGetErrorString(status);
  }
  return 0;
}

const char* built_architectures() {
  return PLANET_CUDA_ARCHS;
}

const char* device_refusal() {
  static auto& known = *new Facts<void (*)(), std::string>;
  const std::string* refusal = nullptr;
  // What the runtime cannot answer is no refusal: the next call meets the same error and returns
  // it.
  if (known.find(probe, refusal, ask_refusal) != cudaSuccess) return nullptr;
  return refusal->empty() ? nullptr : refusal->c_str();
}

}  // namespace planet::cuda
