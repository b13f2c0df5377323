// The two halves of a refit, for one problem; shared by refit and cem_plan.
#pragma once

#include <stdint.h>

#include "../refit.h"

namespace planet::cpu {

// elites [topk], written: indices of the best of returns [candidates] by rank (refit.h). keys
// [candidates]: workspace.
void select_elites(const float* returns, int64_t candidates, int64_t topk, uint64_t* keys,
                   int64_t* elites);

// mean, stddev [size], written: fitted to the rows `elites` [topk] of actions [.., size], summed in
// this order; elites may be null: rows 0 to topk - 1.
void fit_elites(const float* actions, int64_t size, const int64_t* elites, int64_t topk,
                Spread spread, double epsilon, float* mean, float* stddev);

}  // namespace planet::cpu
