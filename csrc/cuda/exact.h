// The exact path: rollouts in float32 by ordinary multiply-adds, for candidates whose operands
// leave fp16's range and for models whose blocks do not fit the shared memory.
#pragma once

#include "rollout_job.h"

namespace planet::cuda {

constexpr int kExactCandidates = 8;  // that share every weight read

// Shared memory of a block in the exact path.
int exact_shared_bytes(const ModelSizes& sizes);

// Enqueues rollouts of which all candidates take it; returns null, or what went wrong.
const char* launch_exact(const RolloutJob& job, void* stream);

}  // namespace planet::cuda
