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

// Shared memory of a refit; the list of elites and the kept actions of each group follow.
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

// lists: [gridDim.x, topk], or null where the list fits shared memory.
__global__ void __launch_bounds__(kThreads)
    plan_refit_kernel(PlanFit plan, uint32_t parts, uint32_t* lists) {
  RefitSpace& space = *reinterpret_cast<RefitSpace*>(shared_memory());
  uint32_t* listed = reinterpret_cast<uint32_t*>(shared_memory() + sizeof(RefitSpace));
  float* kept = reinterpret_cast<float*>(lists ? listed : listed + plan.topk);
  kept += threadIdx.x / kFitMembers * (plan.topk < kKeptActions ? plan.topk : kKeptActions);
  uint32_t* elites = lists ? lists + blockIdx.x * plan.topk : listed;
  const uint32_t part = blockIdx.x % parts;
  const uint32_t values = static_cast<uint32_t>(plan.horizon * plan.action_size);  // < 2^25
  // The barriers within a selection keep a problem's elites apart from the one's before.
  for (int64_t b = blockIdx.x / parts; b < plan.batch; b += gridDim.x / parts) {
    const float* returns = plan.returns + b * plan.candidates;
    const auto return_at = [returns](int64_t j) { return returns[j]; };
    const Selection selection =
        select_elites(return_at, plan.candidates, plan.topk, space.selection);
    for_each_elite(return_at, plan.candidates, selection, space.selection,
                   [elites](uint32_t position, uint32_t j) { elites[position] = j; });
    __syncthreads();
    if (part == 0) {
      const uint64_t best = best_key(returns, elites, plan.topk, space.best);
      if (threadIdx.x == 0) plan.best_return[b] = returns[rank_index(best)];
    }
    for (uint32_t first = part * kGroups; first < values; first += parts * kGroups) {
      const uint32_t index = first + threadIdx.x / kFitMembers;
      fit_value(plan, b, index, index < values, elites, kept, space.fit);
    }
  }
}

}  // namespace

double plan_refit_workspace(int64_t values, int64_t batch, int64_t topk) {
  if (topk <= kSharedElites) return 0.0;
  const double blocks = static_cast<double>(RefitGrid(batch, values).blocks());
  return blocks * static_cast<double>(topk) * sizeof(uint32_t);
}

const char* launch_plan_refit(const PlanFit& plan, void* workspace, void* stream) {
  const RefitGrid grid(plan.batch, plan.horizon * plan.action_size);
  const bool shared = plan.topk <= kSharedElites;
  const int64_t kept = plan.topk < kKeptActions ? plan.topk : kKeptActions;
  Launch how{};
  how.grid = dim3(static_cast<unsigned int>(grid.blocks()));
  how.block = dim3(kThreads);
  how.shared_bytes = sizeof(RefitSpace) + sizeof(float) * static_cast<size_t>(kGroups * kept) +
                     (shared ? sizeof(uint32_t) * static_cast<size_t>(plan.topk) : size_t{0});
  how.stream = stream;
  return launch(how, plan_refit_kernel, plan, static_cast<uint32_t>(grid.parts),
                shared ? nullptr : static_cast<uint32_t*>(workspace));
}

}  // namespace planet::cuda
