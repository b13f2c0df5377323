// How a plan's actions come from normals: one function for the rollout, which scores them, and the
// refit, which draws those of the elites again.
#pragma once

#include "intrinsics.cuh"

namespace planet::cuda {

// clip(mean + stddev * normal, low, high), rounded after each step as the CPU's kernels and the
// reference do, whatever the compiler would contract. NaN stays NaN.
__device__ __forceinline__ float drawn_action(float normal, float mean, float stddev, float low,
                                              float high) {
  const float x = __fadd_rn(__fmul_rn(stddev, normal), mean);
  const float raised = x < low ? low : x;
  return raised > high ? high : raised;
}

}  // namespace planet::cuda
