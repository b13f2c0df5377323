// Actions drawn from counters. The rollout scores them and the refit draws the elites' once more,
// so both call this.
#pragma once

#include "normals.cuh"

namespace planet::cuda {

// NaN stays NaN.
__device__ __forceinline__ float clipped(float action, float low, float high) {
  const float raised = action < low ? low : action;
  return raised > high ? high : raised;
}

// clip(mean + stddev * normal, low, high), rounded after each step as the CPU's kernels and the
// reference do, whatever the compiler would contract.
__device__ __forceinline__ float drawn_action(float mean, float stddev, float normal, float low,
                                              float high) {
  return clipped(__fadd_rn(mean, __fmul_rn(stddev, normal)), low, high);
}

// The actions' normals of candidates 4 `quad` .. 4 `quad` + 3 in one dimension at time t.
__device__ __forceinline__ void action_normals(int64_t seed, uint32_t quad, uint32_t dim,
                                               uint32_t time, uint32_t iteration, float (&out)[4]) {
  normal_quad(seed, quad, dim, kStreamActions, time, iteration, 0, out);
}

}  // namespace planet::cuda
