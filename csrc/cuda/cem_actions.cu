// One thread per four drawn candidates, dimension and a few times; behind these, one per kept
// value.
#include "cem_actions.h"

#include <cuda_runtime.h>
#include <stdint.h>

#include "drawn_actions.cuh"
#include "launch.h"

namespace planet::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kMaxBlocks = 1 << 20;  // threads loop over more
// Times of which a thread adds up the mixed normals, while it draws those of all times once.
constexpr int kMixedTimes = 8;

// Index of a value in [H, B, count, A].
__device__ __forceinline__ int64_t value_index(const PlanActions& p, int64_t time, int64_t problem,
                                               int64_t count, int64_t candidate, int64_t dim) {
  return ((time * p.batch + problem) * count + candidate) * p.action_size + dim;
}

// The mixed normals of four candidates in one dimension at kTimes times from `first`.
template <int kTimes>
__device__ __forceinline__ void mixed_normals(const PlanActions& p, int64_t seed, uint32_t quad,
                                              uint32_t dim, int64_t first,
                                              float (&out)[kTimes][4]) {
#pragma unroll
  for (int t = 0; t < kTimes; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) out[t][i] = 0.0f;
  }
  for (int64_t u = 0; u < p.horizon; ++u) {
    float normal[4];
    action_normals(seed, quad, dim, static_cast<uint32_t>(u), p.source.iteration, normal);
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      const float share = first + t < p.horizon ? p.mix[(first + t) * p.horizon + u] : 0.0f;
#pragma unroll
      for (int i = 0; i < 4; ++i) out[t][i] = __fadd_rn(out[t][i], __fmul_rn(share, normal[i]));
    }
  }
}

// Part `i` of those that draw: with one time as the rollouts would, with several mixed.
template <int kTimes>
__device__ __forceinline__ void draw(const PlanActions& p, int64_t i) {
  const int64_t quads = (p.drawn + 3) / 4;
  const int64_t dim = i % p.action_size, quad = i / p.action_size % quads;
  const int64_t row = i / p.action_size / quads, problem = row % p.batch;
  const int64_t first = row / p.batch * kTimes, of_bound = problem * p.action_size + dim;
  const float low = p.source.low[of_bound], high = p.source.high[of_bound];
  const int64_t seed = p.source.seeds[problem];
  const uint32_t of_quad = static_cast<uint32_t>(quad), of_dim = static_cast<uint32_t>(dim);
  float normal[kTimes][4];
  if constexpr (kTimes == 1) {
    action_normals(seed, of_quad, of_dim, static_cast<uint32_t>(first), p.source.iteration,
                   normal[0]);
  } else {
    mixed_normals(p, seed, of_quad, of_dim, first, normal);
  }
#pragma unroll
  for (int t = 0; t < kTimes; ++t) {
    if (first + t >= p.horizon) break;
    const int64_t moment = (first + t) * (p.batch * p.action_size) + of_bound;
    const float mean = p.source.mean[moment], stddev = p.source.stddev[moment];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (4 * quad + j >= p.drawn) break;
      p.values[value_index(p, first + t, problem, p.drawn + p.keep, 4 * quad + j, dim)] =
          drawn_action(mean, stddev, normal[t][j], low, high);
    }
  }
}

// Value `i` of the kept ones [H, B, E, A].
__device__ __forceinline__ void copy_kept(const PlanActions& p, int64_t i) {
  const int64_t dim = i % p.action_size, e = i / p.action_size % p.keep;
  const int64_t row = i / p.action_size / p.keep, problem = row % p.batch, time = row / p.batch;
  const float* start = p.kept + value_index(p, 0, problem, p.keep, e, 0);
  bool open = false;
  for (int64_t a = 0; a < p.action_size; ++a) open |= isnan(start[a]);
  const int64_t of_bound = problem * p.action_size + dim;
  const float low = p.source.low[of_bound], high = p.source.high[of_bound], given = p.kept[i];
  float action = 0.0f;
  if (!open && isnan(given)) {
    const int64_t moment = time * (p.batch * p.action_size) + of_bound;
    const float normal = normal_of(p.source.seeds[problem], static_cast<uint32_t>(p.drawn + e),
                                   static_cast<uint32_t>(dim), kStreamActions,
                                   static_cast<uint32_t>(time), p.source.iteration, 0);
    action = drawn_action(p.source.mean[moment], p.source.stddev[moment], normal, low, high);
  } else if (!open) {
    action = clipped(given, low, high);
  }
  p.values[value_index(p, time, problem, p.drawn + p.keep, p.drawn + e, dim)] = action;
  if (time == 0 && dim == 0) p.open[problem * p.keep + e] = open;
}

// Parts that draw kTimes times each.
template <int kTimes>
PLANET_HOST_DEVICE int64_t drawing_parts(const PlanActions& p) {
  return (p.horizon + kTimes - 1) / kTimes * p.batch * ((p.drawn + 3) / 4) * p.action_size;
}

template <int kTimes>
__global__ void __launch_bounds__(kThreads) plan_actions_kernel(PlanActions p) {
  const int64_t drawing = drawing_parts<kTimes>(p);
  const int64_t parts = drawing + p.horizon * p.batch * p.keep * p.action_size;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < parts; i += stride) {
    if (i < drawing) {
      draw<kTimes>(p, i);
    } else {
      copy_kept(p, i - drawing);
    }
  }
}

template <int kTimes>
const char* launch_times(const PlanActions& plan, void* stream) {
  const int64_t parts =
      drawing_parts<kTimes>(plan) + plan.horizon * plan.batch * plan.keep * plan.action_size;
  const int64_t blocks = (parts + kThreads - 1) / kThreads;
  Launch how{};
  how.grid = dim3(static_cast<unsigned int>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  how.block = dim3(kThreads);
  how.stream = stream;
  return launch(how, plan_actions_kernel<kTimes>, plan);
}

}  // namespace

const char* launch_plan_actions(const PlanActions& plan, void* stream) {
  return plan.mix ? launch_times<kMixedTimes>(plan, stream) : launch_times<1>(plan, stream);
}

}  // namespace planet::cuda
