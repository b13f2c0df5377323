// A planner that owns what it needs: packed weights, memory and threads. It is a thin cover of
// cem.h, which also serves bounds per problem, starts per candidate and foreign threads. Its
// settings decide what planner it is; see icem_settings and its like in settings.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "planner_parts.h"

namespace planet::cpu {

// A finished plan. The pointers lead into the planner's memory, until its next plan.
struct Plan {
  const float* action;       // [B, A], the action to execute
  const float* mean;         // [H, B, A]
  const float* stddev;       // [H, B, A]
  const float* best_return;  // [B], largest return of the last iteration
  const float* kept;         // [H, B, E, A], the last iteration's best candidates by rank
  int64_t iterations;        // that were run
};

// Plans one at a time: calls from several threads need a planner each, or a lock.
class Planner {
 public:
  // Packs the weights and takes all memory; `weights` (valid, as weight_file.h gives them) are not
  // needed afterwards. Returns null if it cannot, and says why in `error`
  // ("topk: expected 1 to 1000, got 2000").
  static std::unique_ptr<Planner> make(const WeightView& weights, const PlannerOptions& options,
                                       std::string& error);

  // belief  [B, D], row-major, read only; null for a model without belief.
  // state   [B, S], likewise.
  // seeds   [B], one per problem; equal seeds give equal plans.
  // All are needed during the call only. Starts cold, but for rows that shift() has prepared.
  // Allocates nothing, throws nothing.
  Plan plan(const float* belief, const float* state, const int64_t* seeds);

  // Plans with the seeds that Python derives from an integer: row_seed(seed, b).
  Plan plan(const float* belief, const float* state, int64_t seed);

  // Moves the last plan on by the model steps that were executed since, so that the next one starts
  // from it; it is no plan to read any more. A plan whose mean is not finite is not to be shifted.
  // Returns false, and the next plan starts cold, where there is no last plan, where steps < 0, and
  // for settings that say so (Shift::kNone).
  bool shift(int64_t steps = 1);

  // Makes one row of the next plan start cold, 0 <= row < B: a new episode begins in it.
  void cold(int64_t row);

  const ModelSizes& sizes() const { return parts_.model.sizes; }
  // The instruction set in use.
  const char* isa() const { return isa_name(parts_.model.isa); }

 private:
  Planner(const WeightView& weights, const PlannerOptions& options, Isa isa);

  PlannerParts parts_;
  std::vector<int64_t> seeds_;
  bool planned_ = false, warm_ = false;  // whether there is a last plan, and whether it was shifted
};

}  // namespace planet::cpu
