// Chooses the kernel of a rollout and launches it.
#include "../rollout.h"

#include <cuda_runtime.h>

#include "exact.h"
#include "rollout_job.h"
#include "tiles/precisions.h"

namespace planet::cuda {
namespace {

const char* device_limits(DeviceLimits& limits) {
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&limits.multiprocessors, cudaDevAttrMultiProcessorCount, device);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&limits.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                   device);
  }
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace

const char* launch_rollout(const Model& model, const RolloutArguments& arguments, void*,
                           void* stream) {
  DeviceLimits limits{};
  const char* error = device_limits(limits);
  if (error != nullptr) return error;
  const PackedLayout layout = packed_layout(model.sizes, model.precision);
  const RolloutJob job{model.sizes, stddev_floor(model.sizes, model.min_stddev), layout,
                       static_cast<const unsigned char*>(model.packed), arguments};
  const int rows = choose_rows(model.sizes, layout, arguments.batch, arguments.candidates, limits);
  if (rows == 0) return launch_exact(job, stream);
  const TileJob tile_job{job, tile_shape(model.sizes, layout, rows)};
  switch (model.precision) {
    case Precision::kFloat16:
      return launch_tiles_fp16(tile_job, stream);
    case Precision::kBfloat16:
      return launch_tiles_bf16(tile_job, stream);
    case Precision::kFloat32:
      return launch_tiles_fp32(tile_job, stream);
    default:
      return "rollout_returns: int8 is for CPUs";
  }
}

// Shared memory and registers are enough.
int64_t rollout_workspace(const Model&, int64_t, int64_t) {
  return 0;
}

const char* rollout_returns(const Model& model, const Latent& latent, int64_t horizon,
                            int64_t batch, int64_t candidates, const float* actions,
                            const StateNoise& noise, double discount, float* returns,
                            void* workspace, void* stream) {
  RolloutArguments arguments{};
  arguments.latent = latent;
  arguments.horizon = horizon;
  arguments.batch = batch;
  arguments.candidates = candidates;
  arguments.actions.values = actions;
  arguments.noise = noise;
  arguments.discount = discount;
  arguments.returns = returns;
  return launch_rollout(model, arguments, workspace, stream);
}

}  // namespace planet::cuda
