// Calls of the CUDA rollout as a stranger would make them; see calls.h.
#pragma once

#include <stdint.h>

#include <vector>

#include "cuda/tiles/precisions.h"
#include "memory.h"
#include "random_model.h"

namespace planet::tests {

inline constexpr Precision kCudaPrecisions[] = {Precision::kFloat32, Precision::kFloat16,
                                                Precision::kBfloat16};

// A model packed into exactly packed_bytes; the weights that it came from are gone.
class CudaModel {
 public:
  CudaModel(const RandomModel& source, Precision precision)
      : model{source.sizes, source.min_stddev, precision, nullptr},
        packed_(cuda::packed_bytes(source.sizes, precision), 256) {
    const char* error =
        cuda::pack(source.sizes, source.weights(), precision, packed_.data(), nullptr);
    if (error != nullptr) report_failure(__FILE__, __LINE__, error);
    packed_.check();
    model.packed = packed_.data();
  }
  const unsigned char* packed() { return packed_.data(); }

  cuda::Model model;

 private:
  Fenced<unsigned char> packed_;
};

// A rollout's inputs as the kernels take them.
class CudaRollout {
 public:
  explicit CudaRollout(const Rollout& from)
      : from_(from),
        belief_(from.belief),
        state_(from.state),
        actions_(from.actions),
        values_(from.values),
        seeds_(from.seeds),
        returns_(from.batch * from.candidates) {
    arguments.latent = {belief_.data(), state_.data(), from.per_candidate};
    arguments.horizon = from.horizon;
    arguments.batch = from.batch;
    arguments.candidates = from.candidates;
    arguments.actions.values = actions_.data();
    arguments.noise = {nullptr, nullptr, from.iteration, from.particle};
    if (from.noise == NoiseKind::kValues) arguments.noise.values = values_.data();
    if (from.noise == NoiseKind::kSeeds) arguments.noise.seeds = seeds_.data();
    arguments.discount = from.discount;
    arguments.returns = returns_.data();
  }

  // Through the public function.
  std::vector<float> returns(const cuda::Model& model) {
    Fenced<unsigned char> workspace(cuda::rollout_workspace(model, from_.batch, from_.candidates),
                                    256);
    return checked(cuda::rollout_returns(
        model, arguments.latent, from_.horizon, from_.batch, from_.candidates, actions_.data(),
        arguments.noise, from_.discount, returns_.data(), workspace.data(), nullptr));
  }

  // As the planner calls it: with the present `arguments`.
  std::vector<float> launched(const cuda::Model& model) {
    Fenced<unsigned char> workspace(cuda::rollout_workspace(model, from_.batch, from_.candidates),
                                    256);
    return checked(cuda::launch_rollout(model, arguments, workspace.data(), nullptr));
  }

  // In blocks of this many rows.
  std::vector<float> in_tiles(const cuda::Model& model, int rows) {
    const cuda::PackedLayout layout = cuda::packed_layout(model.sizes, model.precision);
    const cuda::RolloutJob job{model.sizes, stddev_floor(model.sizes, model.min_stddev), layout,
                               static_cast<const unsigned char*>(model.packed), arguments};
    const cuda::TileJob tiles{job, cuda::tile_shape(model.sizes, layout, rows)};
    switch (model.precision) {
      case Precision::kFloat16:
        return checked(cuda::launch_tiles_fp16(tiles, nullptr));
      case Precision::kBfloat16:
        return checked(cuda::launch_tiles_bf16(tiles, nullptr));
      default:
        return checked(cuda::launch_tiles_fp32(tiles, nullptr));
    }
  }

  cuda::RolloutArguments arguments{};

 private:
  std::vector<float> checked(const char* error) {
    if (error != nullptr) report_failure(__FILE__, __LINE__, error);
    CHECK(belief_.equals(from_.belief) && state_.equals(from_.state) &&
          actions_.equals(from_.actions) && values_.equals(from_.values) &&
          seeds_.equals(from_.seeds));
    const std::vector<float> out = returns_.values();
    for (int64_t i = 0; i < from_.batch * from_.candidates; ++i) returns_.data()[i] = NAN;
    return out;
  }

  const Rollout& from_;
  Fenced<float> belief_, state_, actions_, values_;
  Fenced<int64_t> seeds_;
  Fenced<float> returns_;
};

inline std::vector<float> run_rollout(const cuda::Model& model, const Rollout& rollout) {
  return CudaRollout(rollout).returns(model);
}

}  // namespace planet::tests
