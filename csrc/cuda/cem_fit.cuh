// Fits single values of a plan's distribution, by groups of threads.
#pragma once

#include "cem_refit.h"
#include "drawn_actions.cuh"
#include "select.cuh"
#include "weights.cuh"

namespace planet::cuda {

constexpr int kFitMembers = 128;    // threads that share one value; fixes the order of the sums
constexpr int kHeldActions = 1024;  // of a value's elites, in shared memory; more are drawn twice

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

// Value `index` = t A + a of a problem's distribution, as it was when the candidates were drawn.
struct PlanValue {
  uint32_t time, dim;
  int64_t of_bound, of_mean, seed;
  float mean, stddev, low, high;

  // present: there is such a value; else another thread may be writing what would be read.
  __device__ __forceinline__ PlanValue(const PlanFit& plan, int64_t problem, uint32_t index,
                                       bool present) {
    const ActionSource& from = plan.actions;
    const uint32_t size = static_cast<uint32_t>(plan.action_size);
    const uint32_t at = present ? index : 0;
    time = at / size;
    dim = at - time * size;
    of_bound = problem * plan.action_size + dim;
    of_mean = time * (plan.batch * plan.action_size) + of_bound;
    seed = from.seeds[problem];
    mean = present ? from.mean[of_mean] : 0.0f;
    stddev = present ? from.stddev[of_mean] : 0.0f;
    low = from.low[of_bound];
    high = from.high[of_bound];
  }

  // What a candidate drew.
  __device__ __forceinline__ float draw(uint32_t candidate, uint32_t iteration) const {
    const float normal = normal_of(seed, candidate, dim, kStreamActions, time, iteration, 0);
    return drawn_action(mean, stddev, normal, low, high);
  }
};

// The plain method's weights.
struct EqualWeights {
  int64_t topk;

  __device__ __forceinline__ double operator()(int64_t) const { return 1.0; }
  __device__ __forceinline__ double total() const { return static_cast<double>(topk); }
};

struct Fitted {
  double mean, spread;
};

// Fits `count` elites (none where the group has no value) with actions action_at(k) and weights
// weigh(k); in all threads of the group. The other groups of the block fit other values, and all
// call it together. held: [min(topk, kHeldActions)] floats of the group, in shared memory, which
// all have read before the last barrier.
template <class ActionAt, class Weigh>
__device__ __forceinline__ Fitted fit_elites(const PlanFit& plan, int64_t count, ActionAt action_at,
                                             const Weigh& weigh, float* held, FitSpace& space) {
  const int member = threadIdx.x % kFitMembers;
  double sum = 0.0;
  for (int64_t k = member; k < count; k += kFitMembers) {
    const float action = action_at(k);
    if (k < kHeldActions) held[k] = action;
    sum += weigh(k) * action;
  }
  const double center = group_sum(sum, space.sums[0]) / weigh.total();
  sum = 0.0;
  for (int64_t k = member; k < count; k += kFitMembers) {
    const double error = (k < kHeldActions ? held[k] : action_at(k)) - center;
    sum += plan.spread == Spread::kPopulation ? weigh(k) * (error * error) : fabs(error);
  }
  sum = group_sum(sum, space.sums[1]);
  return {center, plan.spread == Spread::kPopulation ? sqrt(sum / weigh.total() + plan.epsilon)
                                                     : sum / static_cast<double>(plan.topk - 1)};
}

// Fits value `index` of `problem` (`present`: there is such a value) to its elites as the plain
// method does.
__device__ __forceinline__ void fit_value(const PlanFit& plan, int64_t problem, uint32_t index,
                                          bool present, const uint32_t* elites, float* held,
                                          FitSpace& space) {
  const PlanValue value(plan, problem, index, present);
  const Fitted fit = fit_elites(
      plan, present ? plan.topk : 0,
      [&](int64_t k) { return value.draw(elites[k], plan.actions.iteration); },
      EqualWeights{plan.topk}, held, space);
  if (!present || threadIdx.x % kFitMembers != 0) return;
  const float mean = static_cast<float>(fit.mean);
  plan.mean[value.of_mean] = mean;
  plan.stddev[value.of_mean] = static_cast<float>(fit.spread);
  if (value.of_mean < plan.batch * plan.action_size) plan.action[value.of_mean] = mean;
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
