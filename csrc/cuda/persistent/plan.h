// The persistent variant of cem_plan; see csrc/cem.h for the contract.
#pragma once

#include "../../cem.h"

namespace planet::cuda {

// Null if the current device runs the persistent variant of this plan, otherwise why not (a string
// that lives for ever).
const char* persistent_refusal(const Model& model, const PlanProblem& problem);

// Clusters of this plan that the current device runs at once, in `clusters`. Returns null, the
// refusal, or what went wrong (likewise).
const char* persistent_clusters(const Model& model, const PlanProblem& problem, int& clusters);

// Bytes of its workspace; -1 if that overflows.
int64_t persistent_workspace(const Model& model, const PlanProblem& problem);

// Enqueues the plan. Returns null, the refusal, or what went wrong (a string that lives for ever).
const char* persistent_plan(const Model& model, const PlanProblem& problem, void* workspace,
                            void* stream);

// Where its last iteration's returns [B, J] lie in the workspace.
const float* persistent_returns(const void* workspace);

}  // namespace planet::cuda
