// Where a plan starts: cold, or from the plan before, moved on in time.
//
//   the plan before   a0 a1 a2 a3        of it were executed: 1 step
//   this plan         a1 a2 a3 ?         ?: a3 again, or the middle of the box
#pragma once

#include <stdint.h>

#include "cem.h"

namespace planet {

// How the mean ends that was moved on.
enum class Shift : int {
  kNone = 0,    // no plan starts from another
  kRepeat = 1,  // with its last action again
  kMiddle = 2,  // with the middle of the box
};

namespace cpu {

// What the plans of B problems start from.
struct Start {
  const float* mean;       // [B, A], of the first actions, the same at every time: the box's middle
  const float* stddev;     // [B, A], likewise
  Shift shift;             // of warm rows, not kNone
  const float* past_mean;  // [H, B, A], of the plan before; may be that of `plan`
  const float* past_kept;  // [H, B, E, A], likewise
};

// Fills the row of plan.mean, plan.stddev and plan.kept, of actions of that size. Cold: the first
// distribution, and no sequences (NaN). Warm: the plan before moved on by steps >= 0, with the
// first stddev; kept sequences end open (NaN), so that the plan draws what they lack.
void start_cold(const PlanProblem& plan, int action_size, const Start& start, int64_t row);
void start_warm(const PlanProblem& plan, int action_size, const Start& start, int64_t steps,
                int64_t row);

}  // namespace cpu
}  // namespace planet
