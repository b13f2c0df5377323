// The actions of a plan's iteration where its rollouts read them instead of drawing them: normals
// that are mixed over time, and sequences that were kept.
#pragma once

#include <stdint.h>

#include "rollout_job.h"

namespace planet::cuda {

struct PlanActions {
  int64_t horizon, batch, action_size;
  int64_t drawn, keep;  // J and E: candidates that are drawn, and kept ones behind them
  ActionSource source;  // of the drawn ones; has no values
  const float* mix;     // [H, H], or null
  const float* kept;    // [H, B, E, A]
  float* values;        // [H, B, J + E, A], written
  uint32_t* open;  // [B, E], written: whether a kept sequence is none, as its first step is open
};

// Enqueues the actions that csrc/cem.h describes; those of sequences that are none are 0, so that
// rollouts have nothing to be exact about. Returns null, or what went wrong (a string that lives
// for ever).
const char* launch_plan_actions(const PlanActions& plan, void* stream);

}  // namespace planet::cuda
