// The refit of a plan: like csrc/refit.h, but the elites' actions are drawn again unless they are
// given, and the sums follow the elites' indices instead of their ranks.
#pragma once

#include <stdint.h>

#include "../cem.h"
#include "rollout_job.h"

namespace planet::cuda {

// One iteration's refit.
struct PlanFit {
  int64_t horizon, batch, candidates, topk, action_size;
  ActionSource actions;  // of this iteration's candidates
  const float* returns;  // [B, J]
  Spread spread;
  double epsilon;
  float* mean;         // [H, B, A], written: may be that of `actions`
  float* stddev;       // likewise
  float* best_return;  // [B], written
  float* action;       // [B, A], written: the first of the mean
};

// What the plain method's refit does without.
struct PlanFitExtras {
  double momentum, temperature;
  Output output;
  int64_t keep;          // E: the last ones of the candidates were kept
  const uint32_t* open;  // [B, E]: whether one of these is none, and ranks as NaN does
  float* kept;           // [H, B, E, A], written: the best; only where `actions` has values
};

// Bytes of workspace for launch_plan_refit with `values` = H A; a double cannot overflow. extras:
// or null.
double plan_refit_workspace(int64_t values, int64_t batch, int64_t topk,
                            const PlanFitExtras* extras);

// Enqueues the selection of the elites and the fit; workspace is aligned to 4 bytes. extras: null
// for the plain method. Returns null, or what went wrong (a string that lives for ever).
const char* launch_plan_refit(const PlanFit& plan, const PlanFitExtras* extras, void* workspace,
                              void* stream);

}  // namespace planet::cuda
