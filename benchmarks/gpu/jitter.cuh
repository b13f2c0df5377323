// Included before every CUDA source of a jitter build (CUDAFLAGS="-include .../jitter.cuh"): warps
// sleep at random before they meet, so that a barrier that is missing shows as a wrong result.
#pragma once

#include <cuda_runtime.h>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
namespace planet_jitter {

// Now and then, for up to two microseconds; another draw for every warp and every time.
__device__ __forceinline__ void sleep_at_random() {
  const unsigned int warp = threadIdx.x / 32 + 37 * blockIdx.x;
  unsigned int word = static_cast<unsigned int>(clock64()) + 2654435761u * warp;
  word ^= word >> 15;
  word *= 2246822519u;
  word ^= word >> 13;
  if (word % 4 == 0) __nanosleep(word >> 8 & 2047);
}

}  // namespace planet_jitter

// A macro's own name within it is not expanded again: these are CUDA's functions.
#define __syncthreads() (planet_jitter::sleep_at_random(), __syncthreads())
#define __syncwarp(...) (planet_jitter::sleep_at_random(), __syncwarp(__VA_ARGS__))
#endif
