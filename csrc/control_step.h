// A whole control step of an agent: from camera frames to actions.
#pragma once

#include <stdint.h>

#include "cem.h"
#include "filter_step.h"
#include "shift.h"

namespace planet::cpu {

// One control step of B rows. Row-major, contiguous; needed during the call only.
struct ControlStep {
  const FilterModel& filter;
  const Model& model;  // of the same sizes, for the plan
  // Its latent, seeds, and what a search begins with are set by the step, as are the latent and
  // seeds of `filtered`. What the search leads to is in plan.mean, stddev, kept and action.
  PlanProblem plan;
  FilterStep filtered;
  // Of a row in its episode's first step cold, else warm by one step, but for Shift::kNone. The
  // plan before is only read where a row is warm; it is not that of `plan`.
  Start start;
  const int64_t* episode_seeds;  // [B]
  const int64_t* steps;          // [B], control steps of the episode so far
  bool explore;
  float exploration_stddev;  // of the noise on planned actions, in units of (high - low) / 2
  float* action;             // [B, A], written: to execute, within plan.low and plan.high
  uint8_t* finite;           // [B], written: 1 where latent, plan and action are finite
};

// Bytes of workspace for control_step with at most `workers` workers; -1 if that overflows.
int64_t control_step_workspace(const ControlStep& step, int workers);

// Filters, plans, and explores if asked to. A row's seed is mix_seed(episode_seed, step); noise on
// its action is that of stream 2 (philox.h), candidate 0: clip(action + stddev * normal * half).
// Returns the number of the plan's iterations. `workspace` is aligned to 64 bytes. Results do not
// depend on workers or other rows. Allocates nothing, throws nothing.
int64_t control_step(const ControlStep& step, void* workspace, const Parallel& parallel,
                     Timeline* timeline);

}  // namespace planet::cpu
