// The two halves of a refit, for one problem; shared by refit and cem_plan.
#pragma once

#include <stdint.h>

#include "../refit.h"

namespace planet::cpu {

// elites [topk], written: indices of the best of returns [candidates] by rank (refit.h). keys
// [candidates]: workspace.
void select_elites(const float* returns, int64_t candidates, int64_t topk, uint64_t* keys,
                   int64_t* elites);

// weights [topk], written: of elites by rank, which sum to 1 (refit.h).
void weigh_elites(const float* returns, const int64_t* elites, int64_t topk, double temperature,
                  double* weights);

// How mean and spread are fitted to elites.
struct FitRule {
  int64_t topk;
  Spread spread;
  double epsilon;
  double momentum;        // share of what mean and stddev were before
  const double* weights;  // [topk]; null: all weigh alike
};

// mean, stddev [size], read with a momentum, written: fitted to the rows `elites` [topk] of
// actions [.., size], summed in this order; elites may be null: rows 0 to topk - 1.
void fit_elites(const FitRule& rule, const float* actions, int64_t size, const int64_t* elites,
                float* mean, float* stddev);

}  // namespace planet::cpu
