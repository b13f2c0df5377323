// A rollout as a plan asks for it, where the actions may be drawn where they are used, and as the
// kernels are given it.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "../rollout.h"
#include "layout.h"

namespace planet::cuda {

// Where the actions come from. With `values` they are used as they are; otherwise they are
// clip(mean + stddev * normal, low, high), the normals drawn as csrc/philox.h says with stream
// kStreamActions, this iteration and particle 0 (drawn_action of drawn_actions.cuh).
struct ActionSource {
  const float* values;   // [H, B, J, A], or null
  const float* mean;     // [H, B, A]; this and the rest only without values
  const float* stddev;   // [H, B, A]
  const float* low;      // [B, A]
  const float* high;     // [B, A]
  const int64_t* seeds;  // [B]
  uint32_t iteration;    // < 65536
};

struct RolloutArguments {
  Latent latent;
  int64_t horizon, batch, candidates;  // H < 65536, J < 2^32
  ActionSource actions;
  StateNoise noise;
  double discount;
  float* returns;  // [B, J], written
};

// The argument of all kernels of a rollout.
struct RolloutJob {
  ModelSizes sizes;
  float stddev_floor;  // as the function of this name gives it
  PackedLayout layout;
  const unsigned char* packed;
  RolloutArguments arguments;
};

// Blocks along x share a problem, `candidates` of them each; problems go along y, then z (the last
// ones along z may be none).
inline dim3 rollout_grid(const RolloutArguments& arguments, int candidates) {
  constexpr int64_t kMost = 65535;  // along y and z
  const int64_t y = arguments.batch < kMost ? arguments.batch : kMost;
  return dim3(static_cast<unsigned int>((arguments.candidates + candidates - 1) / candidates),
              static_cast<unsigned int>(y),
              static_cast<unsigned int>((arguments.batch + y - 1) / y));
}

// Enqueues the rollouts under the rules of rollout_returns (csrc/rollout.h); all pointers are
// device pointers. workspace: rollout_workspace(model, batch, candidates) bytes, aligned to 256.
// Returns null, or what went wrong (a string that lives for ever).
const char* launch_rollout(const Model& model, const RolloutArguments& arguments, void* workspace,
                           void* stream);

}  // namespace planet::cuda
