// Selects the elites, one block per problem, and fits mean and spread to them, one warp per value.
#include "../refit.h"

#include <cuda_runtime.h>
#include <stdint.h>

#include "launch.h"
#include "select.cuh"
#include "weights.cuh"

namespace planet::cuda {
namespace {

constexpr int kSelectThreads = 512;
constexpr int kFitThreads = 128;
constexpr int64_t kSharedKeys = 4096;        // of 8 bytes; beyond that, keys lie in the workspace
constexpr int64_t kProblemsAtOnce = 1024;    // blocks of the selection; they loop over more
constexpr uint64_t kLastKey = ~uint64_t{0};  // after every key

// Bitonic sort (Batcher 1968) of keys [padded], ascending; padded is a power of two, all threads
// call it, and see the result.
__device__ void sort_keys(uint64_t* keys, int64_t padded) {
  __syncthreads();
  for (int64_t run = 2; run <= padded; run *= 2) {
    for (int64_t step = run / 2; step > 0; step /= 2) {
      for (int64_t pair = threadIdx.x; pair < padded / 2; pair += blockDim.x) {
        const int64_t low = 2 * (pair & -step) + (pair & (step - 1)), high = low + step;
        const uint64_t a = keys[low], b = keys[high];
        if ((a > b) == ((low & run) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      // Steps up to 32 stay within the 64 keys of a warp's pairs.
      if (step > 32 || (step == 1 && run > 32)) {
        __syncthreads();
      } else {
        __syncwarp();
      }
    }
  }
  __syncthreads();
}

// Writes elites and best. keys: [gridDim.x, padded] in global memory, or null for shared memory.
__global__ void __launch_bounds__(kSelectThreads, 1)
    select_kernel(RefitProblem p, uint64_t* workspace, int64_t padded) {
  SelectionSpace& space = *reinterpret_cast<SelectionSpace*>(shared_memory());
  uint64_t* keys = workspace
                       ? workspace + blockIdx.x * padded
                       : reinterpret_cast<uint64_t*>(shared_memory() + sizeof(SelectionSpace));
  // The barriers within a selection keep a problem's keys apart from the one's before.
  for (int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    const float* returns = p.returns + b * p.candidates;
    const auto return_at = [returns](int64_t j) { return returns[j]; };
    const Selection selection = select_elites(return_at, p.candidates, p.topk, space);
    for_each_elite(return_at, p.candidates, selection, space, [=](uint32_t position, uint32_t j) {
      keys[position] = rank_key(__float_as_uint(returns[j]), j);
    });
    for (int64_t k = p.topk + threadIdx.x; k < padded; k += blockDim.x) keys[k] = kLastKey;
    sort_keys(keys, padded);
    for (int64_t k = threadIdx.x; k < p.topk; k += blockDim.x) {
      p.elites[b * p.topk + k] = rank_index(keys[k]);
    }
    if (threadIdx.x == 0) p.best[b] = returns[rank_index(keys[0])];
  }
}

// The elites of one problem by rank.
struct RankedElites {
  const int64_t* index;  // [K]
  int64_t count;
  const float* returns;
  float best;
  double temperature, total;  // total: of the weights
};

// Calls use(action, weight) for the elites in rank order, in every lane. The lanes load one action
// each, the next ones before the present ones are used. Weights sum to 1; without kWeighted each is
// 1.
template <bool kWeighted, class Use>
__device__ __forceinline__ void for_each_action(const float* actions, int64_t stride,
                                                const RankedElites& elites, Use use) {
  const int lane = threadIdx.x % 32;
  const auto load = [&](int64_t k) {
    return k < elites.count ? actions[elites.index[k] * stride] : 0.0f;
  };
  float next = load(lane);
  for (int64_t first = 0; first < elites.count; first += 32) {
    const float mine = next;
    double weight = 1.0;
    if (kWeighted && first + lane < elites.count) {
      const float value = elites.returns[elites.index[first + lane]];
      weight = elite_weight(value, elites.best, elites.temperature) / elites.total;
    }
    next = load(first + 32 + lane);
    const int64_t left = elites.count - first;
    const int count = left < 32 ? static_cast<int>(left) : 32;
#pragma unroll 8
    for (int i = 0; i < count; ++i) {
      use(__shfl_sync(kFullWarp, mine, i), kWeighted ? __shfl_sync(kFullWarp, weight, i) : 1.0);
    }
  }
}

template <bool kWeighted>
__global__ void __launch_bounds__(kFitThreads) fit_kernel(RefitProblem p) {
  const int64_t values = p.horizon * p.batch * p.action_size;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kFitThreads / 32);
  const double count = static_cast<double>(p.topk);
  for (int64_t i = blockIdx.x * int64_t{kFitThreads / 32} + threadIdx.x / 32; i < values;
       i += warps) {
    const int64_t row = i / p.action_size, a = i % p.action_size, b = row % p.batch;
    RankedElites elites{p.elites + b * p.topk, p.topk, p.returns + b * p.candidates, p.best[b],
                        p.temperature,         1.0};
    const float* actions = p.actions + row * p.candidates * p.action_size + a;
    const auto for_each = [&](auto use) {
      for_each_action<kWeighted>(actions, p.action_size, elites, use);
    };
    if (kWeighted) {
      double total = 0.0;
      for_each([&](float, double weight) { total += weight; });
      elites.total = total;
    }
    const double whole = kWeighted ? 1.0 : count;
    double mean = 0.0, spread = 0.0;
    for_each([&](float x, double weight) { mean += weight * x; });
    mean /= whole;
    for_each([&](float x, double weight) {
      const double error = x - mean;
      // Not contracted, so that the sums are those of the CPU.
      spread += p.spread == Spread::kPopulation ? weight * __dmul_rn(error, error) : fabs(error);
    });
    if (threadIdx.x % 32 == 0) {
      p.mean[i] = static_cast<float>(mean);
      p.stddev[i] =
          static_cast<float>(p.spread == Spread::kPopulation ? sqrt(spread / whole + p.epsilon)
                                                             : spread / (count - 1.0));
    }
  }
}

int64_t padded_size(int64_t topk) {
  int64_t size = 1;
  while (size < topk) size *= 2;
  return size;
}

int64_t at_most(int64_t count, int64_t limit) {
  return count < limit ? count : limit;
}

}  // namespace

int64_t refit_workspace(int64_t batch, int64_t topk) {
  const int64_t padded = padded_size(topk);
  if (padded <= kSharedKeys) return 0;
  return at_most(batch, kProblemsAtOnce) * padded * static_cast<int64_t>(sizeof(uint64_t));
}

const char* refit(const RefitProblem& problem, void* workspace, void* stream) {
  const int64_t padded = padded_size(problem.topk);
  const bool shared = padded <= kSharedKeys;
  Launch select{};
  select.grid = dim3(static_cast<unsigned int>(at_most(problem.batch, kProblemsAtOnce)));
  select.block = dim3(kSelectThreads);
  select.shared_bytes = sizeof(SelectionSpace) +
                        (shared ? static_cast<size_t>(padded) * sizeof(uint64_t) : size_t{0});
  select.stream = stream;
  const char* error = launch(select, select_kernel, problem,
                             shared ? nullptr : static_cast<uint64_t*>(workspace), padded);
  if (error != nullptr) return error;
  const int64_t values = problem.horizon * problem.batch * problem.action_size;
  Launch fit{};
  fit.grid = dim3(static_cast<unsigned int>(at_most((values + 3) / 4, 1 << 20)));
  fit.block = dim3(kFitThreads);
  fit.stream = stream;
  return problem.temperature > 0.0 ? launch(fit, fit_kernel<true>, problem)
                                   : launch(fit, fit_kernel<false>, problem);
}

}  // namespace planet::cuda
