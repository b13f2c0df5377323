// The exact path: rollouts in float32 by ordinary multiply-adds, for candidates whose operands
// leave the range of the matrix units' formats and for models whose blocks do not fit the shared
// memory.
#pragma once

#include <stdint.h>

#include "layout.h"
#include "rollout_kernel.h"

namespace planet::cuda {

constexpr int kExactCandidates = 8;  // that share every weight read

// What the kernels of a rollout are given.
struct RolloutJob {
  ModelSizes sizes;
  float min_stddev;
  PackedLayout layout;
  const unsigned char* packed;
  RolloutArguments arguments;
};

// Shared memory of a block in the exact path.
int exact_shared_bytes(const ModelSizes& sizes);

}  // namespace planet::cuda
