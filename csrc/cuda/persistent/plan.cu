// The persistent variant of a plan, on the host: who may use it, and its launch.
#include "plan.h"

#include <cuda_runtime.h>
#include <stdio.h>

#include <string>
#include <utility>

#include "../device.h"
#include "../launch.h"
#include "kernel.cuh"

namespace planet::cuda {
namespace {

using persistent::Kernel;
using persistent::PlanJob;

constexpr int64_t kAlignment = 256;

// Steps of 16 features of the instance for these sizes; 0: there is none.
int steps_of(const ModelSizes& sizes) {
  for (const int steps : persistent::kSteps) {
    if (sizes.belief <= steps * kTile && sizes.hidden <= steps * kTile &&
        sizes.reward_widths[0] <= steps * kTile && sizes.reward_widths[1] <= steps * kTile) {
      return steps;
    }
  }
  return 0;
}

int octets_of(int size) {
  return (size + kOctet - 1) / kOctet;
}

// Why no device runs a plan with this model, or null.
const char* model_refusal(const Model& model) {
  const ModelSizes& sizes = model.sizes;
  if (model.precision != Precision::kFloat16 && model.precision != Precision::kBfloat16) {
    return "the persistent variant computes in fp16 or bf16 only";
  }
  if (sizes.belief == 0) {
    return "the persistent variant needs a model with a belief (rssm)";
  }
  if (has_continuation(sizes)) {
    return "the persistent variant takes no model with continuation (a reward model whose last "
           "layer has two rows)";
  }
  if (sizes.reward_layers != kPersistentRewardLayers) {
    return "the persistent variant needs a reward model of three layers";
  }
  const int octets = octets_of(sizes.belief);
  if (octets != octets_of(sizes.hidden) || octets != octets_of(sizes.reward_widths[0]) ||
      octets != octets_of(sizes.reward_widths[1])) {
    return "the persistent variant needs belief, hidden and reward layers of one width (up to the "
           "next multiple of 8)";
  }
  if (octets < kClusterBlocks || steps_of(sizes) == 0) {
    return "the persistent variant needs belief, hidden and reward layers 25 to 208 wide";
  }
  if (sizes.state > kStateLimit) {
    return "the persistent variant needs a state of at most 32";
  }
  return nullptr;
}

// Why the kernel cannot plan so, or null: it runs the plain method alone.
const char* method_refusal(const PlanProblem& p) {
  for (int64_t i = 0; p.counts != nullptr && i < p.iterations; ++i) {
    if (p.counts[i] != p.candidates) {
      return "the persistent variant needs equal candidates in every iteration";
    }
  }
  if (p.mix != nullptr) return "the persistent variant takes no mix";
  if (p.keep > 0) return "the persistent variant takes no kept sequences (keep)";
  if (p.momentum > 0.0) return "the persistent variant takes no momentum";
  if (p.temperature > 0.0) return "the persistent variant takes no temperature";
  if (p.output != Output::kMean) return "the persistent variant has the output 'mean' only";
  return nullptr;
}

Kernel kernel_of(const Model& model) {
  const int steps = steps_of(model.sizes);
  return model.precision == Precision::kFloat16 ? persistent::kernel_fp16(steps, model.sizes.elu)
                                                : persistent::kernel_bf16(steps, model.sizes.elu);
}

// The shared memory of a block; a plan whose list of elites fits no device has 2^30 bytes.
PersistentLayout layout_of(const Model& model, int64_t topk) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t fit = static_cast<int64_t>(sizeof(persistent::FitScratch)) + 4 * topk;
  const int64_t exact =
      static_cast<int64_t>(sizeof(persistent::ExactScratch)) + exact_shared_bytes(model.sizes);
  int64_t scratch = fit > exact ? fit : exact;
  if (topk > kMost || scratch > kMost) scratch = kMost;
  return persistent_layout(model.sizes, steps_of(model.sizes), static_cast<int>(scratch));
}

// What the current device has for a kernel whose blocks have so much shared memory.
struct Residence {
  std::string refusal;  // empty: it runs
  int clusters = 0;     // resident at once
};

// Code for older devices is translated for newer ones, and then has no body there.
std::string body_refusal(int ptx_version, int major, int minor) {
  if (PLANET_PERSISTENT_BODY(10 * ptx_version)) return {};
  char text[400];
  snprintf(text, sizeof text,
           "for this GPU of compute capability %d.%d the build (%s) has code for compute "
           "capability %d.%d alone, and the persistent kernel begins with 9.0; build planet with "
           "PLANET_CUDA_ARCHS=%d%d-real",
           major, minor, built_architectures(), ptx_version / 10, ptx_version % 10, major, minor);
  return text;
}

cudaError_t count_clusters(Kernel kernel, int shared_bytes, int& clusters) {
  const cudaError_t status = allow_shared_memory(reinterpret_cast<const void*>(kernel));
  if (status != cudaSuccess) return status;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {kClusterBlocks, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kClusterBlocks);
  config.blockDim = dim3(kPersistentThreads);
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaOccupancyMaxActiveClusters(&clusters, kernel, &config);
}

cudaError_t ask_residence(int device, Kernel kernel, int shared_bytes, Residence& out) {
  int major = 0, minor = 0, shared = 0;
  cudaFuncAttributes code{};
  cudaError_t status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
  if (status == cudaSuccess) {
    status = cudaFuncGetAttributes(&code, reinterpret_cast<const void*>(kernel));
  }
  if (status != cudaSuccess) return status;
  if (major != 9 && major != 10) {
    out.refusal =
        "the persistent variant needs a GPU of compute capability 9 or 10 (Hopper or Blackwell for "
        "data centres)";
  } else if (shared_bytes > shared) {
    out.refusal =
        "the persistent variant needs more shared memory for these sizes than this GPU has "
        "(actions and topk count, too)";
  } else {
    out.refusal = body_refusal(code.ptxVersion, major, minor);
  }
  if (!out.refusal.empty()) return cudaSuccess;
  status = count_clusters(kernel, shared_bytes, out.clusters);
  if (status == cudaSuccess && out.clusters == 0) {
    out.refusal =
        "the persistent variant finds no room for a cluster of four blocks on this GPU (is it "
        "partitioned?)";
  }
  return status;
}

cudaError_t find_residence(Kernel kernel, int shared_bytes, const Residence*& found) {
  static auto& known = *new Facts<std::pair<Kernel, int>, Residence>;
  return known.find({kernel, shared_bytes}, found, [=](int device, Residence& out) {
    return ask_residence(device, kernel, shared_bytes, out);
  });
}

}  // namespace

const char* persistent_refusal(const Model& model, const PlanProblem& problem) {
  const char* refusal = method_refusal(problem);
  if (refusal == nullptr) refusal = model_refusal(model);
  if (refusal != nullptr) return refusal;
  const Residence* found = nullptr;
  // What the runtime cannot answer is no refusal: the plan meets the same error and returns it.
  if (find_residence(kernel_of(model), layout_of(model, problem.topk).bytes, found) !=
      cudaSuccess) {
    return nullptr;
  }
  return found->refusal.empty() ? nullptr : found->refusal.c_str();
}

const char* persistent_clusters(const Model& model, const PlanProblem& problem, int& clusters) {
  const char* refusal = persistent_refusal(model, problem);
  if (refusal != nullptr) return refusal;
  const Residence* found = nullptr;
  const cudaError_t status =
      find_residence(kernel_of(model), layout_of(model, problem.topk).bytes, found);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  clusters = found->clusters;
  return nullptr;
}

int64_t persistent_workspace(const Model&, const PlanProblem& problem) {
  const double returns =
      static_cast<double>(problem.batch) * static_cast<double>(problem.candidates) * sizeof(float);
  return returns < 0x1p62 ? static_cast<int64_t>(returns) + kAlignment : -1;
}

const char* persistent_plan(const Model& model, const PlanProblem& problem, void* workspace,
                            void* stream) {
  int resident = 0;
  const char* error = persistent_clusters(model, problem, resident);
  if (error != nullptr) return error;
  const PersistentLayout layout = layout_of(model, problem.topk);
  const int64_t tiles = (problem.candidates + kClusterRows - 1) / kClusterRows * problem.batch;
  const int64_t clusters = tiles < resident ? tiles : resident;

  uint32_t* arrivals = static_cast<uint32_t*>(workspace);
  float* returns = reinterpret_cast<float*>(static_cast<char*>(workspace) + kAlignment);
  const uint32_t iteration = static_cast<uint32_t>(problem.first_iteration);
  const ActionSource actions{nullptr,      problem.mean,  problem.stddev, problem.low,
                             problem.high, problem.seeds, iteration};
  const StateNoise noise{nullptr, problem.state_noise ? problem.seeds : nullptr, iteration, 0};
  PlanJob job{};
  job.rollout.at = layout;
  job.rollout.job = {model.sizes,
                     stddev_floor(model.sizes, model.min_stddev),
                     packed_layout(model.sizes, model.precision),
                     static_cast<const unsigned char*>(model.packed),
                     {problem.latent, problem.horizon, problem.batch, problem.candidates, actions,
                      noise, problem.discount, returns}};
  job.fit = {problem.horizon, problem.batch,      problem.candidates,
             problem.topk,    model.sizes.action, actions,
             returns,         problem.spread,     problem.epsilon,
             problem.mean,    problem.stddev,     problem.best_return,
             problem.action};
  job.iterations = problem.iterations;
  job.arrivals = arrivals;

  const cudaError_t status =
      cudaMemsetAsync(arrivals, 0, sizeof *arrivals, static_cast<cudaStream_t>(stream));
  if (status != cudaSuccess) return cudaGetErrorString(status);
  Launch how{};
  how.grid = dim3(static_cast<unsigned int>(clusters * kClusterBlocks));
  how.block = dim3(kPersistentThreads);
  how.shared_bytes = static_cast<size_t>(layout.bytes);
  how.stream = stream;
  how.cluster = kClusterBlocks;
  how.cooperative = true;
  return launch(how, kernel_of(model), job);
}

const float* persistent_returns(const void* workspace) {
  return reinterpret_cast<const float*>(static_cast<const char*>(workspace) + kAlignment);
}

}  // namespace planet::cuda
