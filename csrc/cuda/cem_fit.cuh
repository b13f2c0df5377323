// Fits single values of a plan's distribution, by groups of threads.
#pragma once

#include "cem_refit.h"
#include "drawn_actions.cuh"
#include "select.cuh"

namespace planet::cuda {

constexpr int kFitMembers = 128;    // threads that share one value; fixes the order of the sums
constexpr int kKeptActions = 1024;  // of a value's elites, in shared memory; more are drawn twice

// Shared memory of a block's sums, one per warp.
struct FitSpace {
  double sums[2][kMaxWarps];
};

// The sum of `value` over the kFitMembers threads of a group, in all of them. Contains a barrier of
// the block; `sums` may be written again after the next one.
__device__ __forceinline__ double group_sum(double value, double* sums) {
  constexpr int kWarps = kFitMembers / 32;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kFullWarp, value, offset);
  }
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) sums[warp] = value;
  __syncthreads();
  double sum = 0.0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) sum += sums[warp / kWarps * kWarps + i];
  return sum;
}

// Fits value `index` = t A + a of `problem` to its elites, by a group of kFitMembers threads; the
// other groups of the block fit other values, and all call it together (`present`: there is such a
// value). kept: [min(topk, kKeptActions)] floats of the group, in shared memory.
__device__ __forceinline__ void fit_value(const PlanFit& plan, int64_t problem, uint32_t index,
                                          bool present, const uint32_t* elites, float* kept,
                                          FitSpace& space) {
  const ActionSource& from = plan.actions;
  const int member = threadIdx.x % kFitMembers;
  const uint32_t size = static_cast<uint32_t>(plan.action_size);
  const uint32_t time = present ? index / size : 0, dim = present ? index % size : 0;
  const int64_t of_bound = problem * plan.action_size + dim;
  const int64_t of_mean = time * (plan.batch * plan.action_size) + of_bound;
  const int64_t seed = from.seeds[problem];
  // Where there is no value, another thread may be writing what would be read.
  const float mean = present ? from.mean[of_mean] : 0.0f;
  const float stddev = present ? from.stddev[of_mean] : 0.0f;
  const float low = from.low[of_bound], high = from.high[of_bound];
  const auto draw = [&](int64_t k) {
    const float normal = normal_of(seed, elites[k], dim, kStreamActions, time, from.iteration, 0);
    return drawn_action(mean, stddev, normal, low, high);
  };
  const int64_t count = present ? plan.topk : 0;
  double sum = 0.0;
  for (int64_t k = member; k < count; k += kFitMembers) {
    const float action = draw(k);
    if (k < kKeptActions) kept[k] = action;
    sum += action;
  }
  const double center = group_sum(sum, space.sums[0]) / static_cast<double>(plan.topk);
  sum = 0.0;
  for (int64_t k = member; k < count; k += kFitMembers) {
    const double error = (k < kKeptActions ? kept[k] : draw(k)) - center;
    sum += plan.spread == Spread::kPopulation ? error * error : fabs(error);
  }
  sum = group_sum(sum, space.sums[1]);
  // Every thread of the group has read what lies here before the sum's barrier.
  if (!present || member != 0) return;
  plan.mean[of_mean] = static_cast<float>(center);
  plan.stddev[of_mean] = static_cast<float>(
      plan.spread == Spread::kPopulation ? sqrt(sum / static_cast<double>(plan.topk) + plan.epsilon)
                                         : sum / static_cast<double>(plan.topk - 1));
}

// The best elite's key, in thread 0. Contains a barrier of the block. best: [warps of the block] in
// shared memory.
__device__ __forceinline__ uint64_t best_key(const float* returns, const uint32_t* elites,
                                             int64_t topk, uint64_t* best) {
  uint64_t key = ~uint64_t{0};
  const auto take = [&](uint64_t other) { key = other < key ? other : key; };
  for (int64_t k = threadIdx.x; k < topk; k += blockDim.x) {
    take(rank_key(__float_as_uint(returns[elites[k]]), elites[k]));
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) take(__shfl_xor_sync(kFullWarp, key, offset));
  if (threadIdx.x % 32 == 0) best[threadIdx.x / 32] = key;
  __syncthreads();
  for (int warp = 0; warp < static_cast<int>(blockDim.x / 32); ++warp) take(best[warp]);
  return key;
}

}  // namespace planet::cuda
