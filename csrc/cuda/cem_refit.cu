// Every block selects the elites of its problem for itself, which is cheaper than telling others,
// and fits some of the values.
#include "cem_refit.h"

#include <cuda_runtime.h>
#include <stdint.h>

#include "cem_fit.cuh"
#include "launch.h"

namespace planet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroups = kThreads / kFitMembers;  // values that a block fits at a time
constexpr int64_t kBlocks = 1024;                // of a refit; they loop over what is more
constexpr int64_t kSharedElites = 4096;          // listed in shared memory; more: in the workspace

// Shared memory of a refit; the lists of elites and the held actions of each group follow.
struct RefitSpace {
  SelectionSpace selection;
  FitSpace fit;
  uint64_t best[kThreads / 32];
};

// How a refit is cut into blocks: `problems` at a time, each by `parts` blocks, which all select
// the same elites and share the values. Results do not depend on it.
struct RefitGrid {
  int64_t problems, parts;

  RefitGrid(int64_t batch, int64_t values) {
    problems = batch < kBlocks ? batch : kBlocks;
    parts = (values + kGroups - 1) / kGroups;
    if (parts > kBlocks / problems) parts = kBlocks / problems;
  }
  int64_t blocks() const { return problems * parts; }
};

// Elites that are listed by rank behind all: those to keep, at least the best. The plain method has
// no such list.
PLANET_HOST_DEVICE int64_t ranked_elites(const PlanFitExtras& extras) {
  return extras.keep > 1 ? extras.keep : 1;
}

// The elites of one problem, in a block's lists.
struct EliteLists {
  const float* returns;
  uint32_t* all;     // [K], by index
  uint32_t* ranked;  // [ranked_elites(...)]
};

// Lists the `count` best elites by rank, a warp per elite; no barrier.
__device__ __forceinline__ void rank_elites(const EliteLists& elites, int64_t topk, int64_t count) {
  const auto key_of = [&](int64_t k) {
    return rank_key(__float_as_uint(elites.returns[elites.all[k]]), elites.all[k]);
  };
  for (int64_t k = threadIdx.x / 32; k < topk; k += kThreads / 32) {
    const uint64_t key = key_of(k);
    uint32_t before = 0;
    for (int64_t i = threadIdx.x % 32; i < topk; i += 32) before += key_of(i) < key;
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      before += __shfl_xor_sync(kFullWarp, before, offset);
    }
    if (threadIdx.x % 32 == 0 && before < count) elites.ranked[before] = elites.all[k];
  }
}

// How the elites of one problem weigh.
struct Weighing {
  const EliteLists& elites;
  float best;
  double temperature, sum;

  // The sum is the same in all warps, each of which computes it.
  __device__ __forceinline__ Weighing(const EliteLists& elites, int64_t topk, double temperature)
      : elites(elites), best(elites.returns[elites.ranked[0]]), temperature(temperature), sum(0.0) {
    for (int64_t k = threadIdx.x % 32; k < topk; k += 32) sum += (*this)(k);
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      sum += __shfl_xor_sync(kFullWarp, sum, offset);
    }
  }

  __device__ __forceinline__ double operator()(int64_t k) const {
    return elite_weight(elites.returns[elites.all[k]], best, temperature);
  }
  __device__ __forceinline__ double total() const { return sum; }
};

// share * before + (1 - share) * fitted
__device__ __forceinline__ float blended(double share, float before, double fitted) {
  return static_cast<float>(share > 0.0 ? share * before + (1.0 - share) * fitted : fitted);
}

// As fit_value, with all that the generalised method asks for.
__device__ __forceinline__ void fit_any_value(const PlanFit& plan, const PlanFitExtras& extras,
                                              int64_t problem, uint32_t index, bool present,
                                              const Weighing& weighing, float* held,
                                              FitSpace& space) {
  const EliteLists& elites = weighing.elites;
  const PlanValue value(plan, problem, index, present);
  const int64_t row = value.time * plan.batch + problem;
  const float* given = plan.actions.values;
  if (given != nullptr) given += row * plan.candidates * plan.action_size + value.dim;
  const auto action_of = [&](uint32_t candidate) {
    return given != nullptr ? given[candidate * plan.action_size]
                            : value.draw(candidate, plan.actions.iteration);
  };
  const Fitted fit = fit_elites(
      plan, present ? plan.topk : 0, [&](int64_t k) { return action_of(elites.all[k]); }, weighing,
      held, space);
  if (!present) return;
  const int member = threadIdx.x % kFitMembers;
  for (int64_t e = member; e < extras.keep; e += kFitMembers) {
    extras.kept[(row * extras.keep + e) * plan.action_size + value.dim] =
        action_of(elites.ranked[e]);
  }
  if (member != 0) return;
  const float mean = blended(extras.momentum, value.mean, fit.mean);
  plan.mean[value.of_mean] = mean;
  plan.stddev[value.of_mean] = blended(extras.momentum, value.stddev, fit.spread);
  if (index < plan.action_size) {
    plan.action[problem * plan.action_size + index] =
        extras.output == Output::kBest ? action_of(elites.ranked[0]) : mean;
  }
}

// Lists the elites of a problem by index; no barrier behind it.
template <class ReturnAt>
__device__ __forceinline__ void list_elites(const PlanFit& plan, ReturnAt return_at,
                                            uint32_t* elites, SelectionSpace& space) {
  const Selection selection = select_elites(return_at, plan.candidates, plan.topk, space);
  for_each_elite(return_at, plan.candidates, selection, space,
                 [elites](uint32_t position, uint32_t j) { elites[position] = j; });
}

// lists: [gridDim.x, entries], or null where the lists fit shared memory. `extras` counts with kAny
// only.
template <bool kAny>
__global__ void __launch_bounds__(kThreads)
    plan_refit_kernel(PlanFit plan, PlanFitExtras extras, uint32_t parts, uint32_t* lists) {
  RefitSpace& space = *reinterpret_cast<RefitSpace*>(shared_memory());
  uint32_t* listed = reinterpret_cast<uint32_t*>(shared_memory() + sizeof(RefitSpace));
  const int64_t entries = plan.topk + (kAny ? ranked_elites(extras) : 0);
  float* held = reinterpret_cast<float*>(lists ? listed : listed + entries);
  held += threadIdx.x / kFitMembers * (plan.topk < kHeldActions ? plan.topk : kHeldActions);
  uint32_t* all = lists ? lists + blockIdx.x * entries : listed;
  const uint32_t part = blockIdx.x % parts;
  const uint32_t values = static_cast<uint32_t>(plan.horizon * plan.action_size);  // < 2^25
  // Calls fit(index) for this block's values, all its threads together.
  const auto for_each_value = [=](auto fit) {
    for (uint32_t first = part * kGroups; first < values; first += parts * kGroups) {
      fit(first + threadIdx.x / kFitMembers);
    }
  };
  // The barriers within a selection keep a problem's elites apart from the one's before.
  for (int64_t b = blockIdx.x / parts; b < plan.batch; b += gridDim.x / parts) {
    const float* returns = plan.returns + b * plan.candidates;
    if constexpr (kAny) {
      const int64_t drawn = plan.candidates - extras.keep;
      const uint32_t* open = extras.open + b * extras.keep;
      list_elites(
          plan, [=](int64_t j) { return j >= drawn && open[j - drawn] ? NAN : returns[j]; }, all,
          space.selection);
      __syncthreads();
      const EliteLists elites{returns, all, all + plan.topk};
      rank_elites(elites, plan.topk, ranked_elites(extras));
      __syncthreads();
      const Weighing weighing(elites, plan.topk, extras.temperature);
      if (part == 0 && threadIdx.x == 0) plan.best_return[b] = weighing.best;
      for_each_value([&](uint32_t index) {
        fit_any_value(plan, extras, b, index, index < values, weighing, held, space.fit);
      });
    } else {
      list_elites(plan, [=](int64_t j) { return returns[j]; }, all, space.selection);
      __syncthreads();
      if (part == 0) {
        const uint64_t best = best_key(returns, all, plan.topk, space.best);
        if (threadIdx.x == 0) plan.best_return[b] = returns[rank_index(best)];
      }
      for_each_value(
          [&](uint32_t index) { fit_value(plan, b, index, index < values, all, held, space.fit); });
    }
  }
}

int64_t list_entries(int64_t topk, const PlanFitExtras* extras) {
  return topk + (extras ? ranked_elites(*extras) : 0);
}

}  // namespace

double plan_refit_workspace(int64_t values, int64_t batch, int64_t topk,
                            const PlanFitExtras* extras) {
  if (topk <= kSharedElites) return 0.0;
  const double blocks = static_cast<double>(RefitGrid(batch, values).blocks());
  return blocks * static_cast<double>(list_entries(topk, extras)) * sizeof(uint32_t);
}

const char* launch_plan_refit(const PlanFit& plan, const PlanFitExtras* extras, void* workspace,
                              void* stream) {
  const RefitGrid grid(plan.batch, plan.horizon * plan.action_size);
  const bool shared = plan.topk <= kSharedElites;
  const int64_t held = plan.topk < kHeldActions ? plan.topk : kHeldActions;
  const int64_t listed = shared ? list_entries(plan.topk, extras) : 0;
  Launch how{};
  how.grid = dim3(static_cast<unsigned int>(grid.blocks()));
  how.block = dim3(kThreads);
  how.shared_bytes = sizeof(RefitSpace) + sizeof(float) * static_cast<size_t>(kGroups * held) +
                     sizeof(uint32_t) * static_cast<size_t>(listed);
  how.stream = stream;
  uint32_t* lists = shared ? nullptr : static_cast<uint32_t*>(workspace);
  const uint32_t parts = static_cast<uint32_t>(grid.parts);
  if (extras == nullptr) {
    return launch(how, plan_refit_kernel<false>, plan, PlanFitExtras{}, parts, lists);
  }
  return launch(how, plan_refit_kernel<true>, plan, *extras, parts, lists);
}

}  // namespace planet::cuda
