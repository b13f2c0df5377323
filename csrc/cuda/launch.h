// Launches kernels; on the CPU, runs them in the emulator.
#pragma once

#include <cuda_runtime.h>
#include <stddef.h>

#include "facts.h"

namespace planet::cuda {

struct Launch {
  dim3 grid, block;
  size_t shared_bytes;       // dynamic shared memory of a block
  void* stream;              // cudaStream_t
  int cluster = 1;           // blocks of a cluster, along x
  bool cooperative = false;  // all blocks are resident at once, or the launch is refused
};

// Enqueues kernel(arguments...). Returns null, or what went wrong (a string that lives for ever).
template <class... Parameters, class... Arguments>
const char* launch(const Launch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaError_t error = cudaSuccess;
  if (how.shared_bytes > 48 * 1024) {  // less is always allowed
    error = allow_shared_memory(reinterpret_cast<const void*>(kernel));
    if (error != cudaSuccess) return cudaGetErrorString(error);
  }
  cudaLaunchAttribute attributes[2]{};
  unsigned int count = 0;
  if (how.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim = {static_cast<unsigned int>(how.cluster), 1, 1};
    ++count;
  }
  if (how.cooperative) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count].val.cooperative = 1;
    ++count;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = how.block;
  config.dynamicSmemBytes = how.shared_bytes;
  config.stream = static_cast<cudaStream_t>(how.stream);
  config.attrs = attributes;
  config.numAttrs = count;
  error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace planet::cuda
