// The refit of a plan: like csrc/refit.h, but the elites' actions are drawn again instead of read,
// and the sums follow the elites' indices instead of their ranks.
#pragma once

#include <stdint.h>

#include "../refit.h"
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
};

// Bytes of workspace for launch_plan_refit with `values` = H A; a double cannot overflow.
double plan_refit_workspace(int64_t values, int64_t batch, int64_t topk);

// Enqueues the selection of the elites and the fit; workspace is aligned to 4 bytes. Returns null,
// or what went wrong (a string that lives for ever).
const char* launch_plan_refit(const PlanFit& plan, void* workspace, void* stream);

}  // namespace planet::cuda
