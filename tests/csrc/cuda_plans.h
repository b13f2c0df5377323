// Actions and rollouts as a plan on a CUDA device draws them, from the device's table of normals.
#pragma once

#include "calls.h"
#include "cuda_calls.h"

namespace planet::tests {

// clip(mean + stddev * normal, low, high) [H, B, J, A] of the plan's first iteration.
std::vector<float> drawn_actions(const Plan& plan, int64_t action_size);

// The rollout of the first iteration's candidates.
Rollout rollout_of(const Plan& plan, const ModelSizes& sizes, Random& random);

}  // namespace planet::tests
