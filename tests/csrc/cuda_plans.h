// Actions and rollouts as a plan on a CUDA device draws them, from the device's table of normals.
#pragma once

#include "calls.h"
#include "cuda_calls.h"

namespace planet::tests {

// The actions [H, B, J + E, A] of the plan's first iteration; NaN in sequences that are none.
std::vector<float> drawn_actions(const Plan& plan, int64_t action_size);

// The rollout of the first iteration's candidates.
Rollout rollout_of(const Plan& plan, const ModelSizes& sizes, Random& random);

// What the first iteration leaves, by the CPU's refit of its actions and returns [B, J + E].
PlanResult refitted(const Plan& plan, int64_t action_size, const std::vector<float>& actions,
                    std::vector<float> returns);

// Whether `got` is `wanted` but for the order of the sums in double precision: mean and stddev are
// seldom another float, then the next one.
void check_refitted(const PlanResult& got, const PlanResult& wanted, const Plan& plan);

}  // namespace planet::tests
