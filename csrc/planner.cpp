#include "planner.h"

#include "seeds.h"

namespace planet::cpu {

std::unique_ptr<Planner> Planner::make(const WeightView& weights, const PlannerOptions& options,
                                       std::string& error) {
  const Isa isa = best_isa(options.isa);
  error = check_options(options, weights.sizes, isa);
  if (!error.empty()) return nullptr;
  return make_or_explain(
      error, [&] { return std::unique_ptr<Planner>(new Planner(weights, options, isa)); });
}

Planner::Planner(const WeightView& weights, const PlannerOptions& options, Isa isa)
    : parts_(weights, options, isa) {
  parts_.take_memory(weights, options,
                     plan_workspace(parts_.model, parts_.problem, options.threads));
  seeds_.resize(options.batch);
}

Plan Planner::plan(const float* belief, const float* state, const int64_t* seeds) {
  PlannerParts& p = parts_;
  for (int64_t row = 0; row < p.problem.batch && !warm_; ++row) cold(row);
  warm_ = false;
  planned_ = true;
  PlanProblem problem = p.problem;
  problem.latent = {belief, state, false};
  problem.seeds = seeds;
  const int64_t done = cem_plan(p.model, problem, p.workspace.data(), p.pool.parallel());
  return {p.action.data(),      p.mean.data(), p.stddev.data(),
          p.best_return.data(), p.kept.data(), done};
}

Plan Planner::plan(const float* belief, const float* state, int64_t seed) {
  for (size_t b = 0; b < seeds_.size(); ++b) {
    seeds_[b] = row_seed(seed, static_cast<uint32_t>(b));
  }
  return plan(belief, state, seeds_.data());
}

bool Planner::shift(int64_t steps) {
  const PlannerParts& p = parts_;
  if (!planned_ || steps < 0 || p.shift == Shift::kNone) return false;
  for (int64_t row = 0; row < p.problem.batch; ++row) {
    start_warm(p.problem, sizes().action, p.start(), steps, row);
  }
  warm_ = true;
  return true;
}

void Planner::cold(int64_t row) {
  start_cold(parts_.problem, sizes().action, parts_.start(), row);
}

}  // namespace planet::cpu
