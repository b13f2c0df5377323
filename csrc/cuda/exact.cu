// Rollouts of which all candidates take the exact path.
#include "exact.cuh"
#include "launch.h"

namespace planet::cuda {
namespace {

constexpr int kExactThreads = 512;

// One block per kExactCandidates candidates of a problem.
__global__ void __launch_bounds__(kExactThreads, 1)
    exact_rollouts(const __grid_constant__ RolloutJob job) {
  const int64_t problem = static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y;
  if (problem >= job.arguments.batch) return;
  uint32_t* list = reinterpret_cast<uint32_t*>(shared_memory());
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kExactCandidates;
  const int64_t left = job.arguments.candidates - first;
  const int count = left < kExactCandidates ? static_cast<int>(left) : kExactCandidates;
  if (threadIdx.x < kExactCandidates)
    list[threadIdx.x] = static_cast<uint32_t>(first + threadIdx.x);
  __syncthreads();
  ExactRollout<>(job, problem, list, count, reinterpret_cast<float*>(list + kExactCandidates))
      .run();
}

}  // namespace

int exact_shared_bytes(const ModelSizes& sizes) {
  int widest = sizes.hidden;
  for (int i = 0; i < sizes.reward_layers; ++i) {
    if (sizes.reward_widths[i] > widest) widest = sizes.reward_widths[i];
  }
  const int features = 2 * sizes.belief + sizes.state + sizes.action + 2 * widest;
  return features * kExactCandidates * static_cast<int>(sizeof(float));
}

const char* launch_exact(const RolloutJob& job, void* stream) {
  const size_t bytes =
      kExactCandidates * sizeof(uint32_t) + static_cast<size_t>(exact_shared_bytes(job.sizes));
  return launch({rollout_grid(job.arguments, kExactCandidates), dim3(kExactThreads), bytes, stream},
                exact_rollouts, job);
}

}  // namespace planet::cuda
