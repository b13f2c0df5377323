// The exact path: rollouts in float32 by ordinary multiply-adds, for candidates whose operands
// leave the range of the matrix units' formats and for models whose blocks do not fit the shared
// memory.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "layout.h"
#include "rollout_kernel.h"

namespace planet::cuda {

constexpr int kExactCandidates = 8;  // that share every weight read

// What the kernels of a rollout are given.
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

// Shared memory of a block in the exact path.
int exact_shared_bytes(const ModelSizes& sizes);

}  // namespace planet::cuda
