// Where a plan starts.
#include "../shift.h"

#include <algorithm>
#include <limits>

namespace planet::cpu {
namespace {

void copy(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];  // from == to is allowed
}

// Moves the plan before on by `steps`, and ends the mean with `tail` [A]. Times go up, and what is
// read lies behind what is written: both may be in the same place.
void start_row(const PlanProblem& plan, int64_t size, const Start& start, int64_t steps,
               const float* tail, int64_t row) {
  const int64_t width = plan.keep * size, last = plan.horizon - 1;
  for (int64_t t = 0; t <= last; ++t) {
    const int64_t here = t * plan.batch + row, source = here + steps * plan.batch;
    const bool known = steps <= last - t;
    copy(known ? start.past_mean + source * size : tail, size, plan.mean + here * size);
    copy(start.stddev + row * size, size, plan.stddev + here * size);
    for (int64_t i = 0; i < width; ++i) {
      plan.kept[here * width + i] =
          known ? start.past_kept[source * width + i] : std::numeric_limits<float>::quiet_NaN();
    }
  }
}

}  // namespace

void start_cold(const PlanProblem& plan, int action_size, const Start& start, int64_t row) {
  start_row(plan, action_size, start, plan.horizon, start.mean + row * action_size, row);
}

void start_warm(const PlanProblem& plan, int action_size, const Start& start, int64_t steps,
                int64_t row) {
  const int64_t newest = (plan.horizon - 1) * plan.batch + row;
  const float* tail = start.shift == Shift::kRepeat ? start.past_mean + newest * action_size
                                                    : start.mean + row * action_size;
  start_row(plan, action_size, start, std::min(steps, plan.horizon), tail, row);
}

}  // namespace planet::cpu
