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
  for (size_t i = 0; i < p.mean.size(); ++i) {
    p.mean[i] = p.first_mean[i % p.first_mean.size()];
    p.stddev[i] = p.first_stddev[i % p.first_stddev.size()];
  }
  PlanProblem problem = p.problem;
  problem.latent = {belief, state, false};
  problem.seeds = seeds;
  const int64_t done = cem_plan(p.model, problem, p.workspace.data(), p.pool.parallel());
  return {p.action.data(), p.mean.data(), p.stddev.data(), p.best_return.data(), done};
}

Plan Planner::plan(const float* belief, const float* state, int64_t seed) {
  for (size_t b = 0; b < seeds_.size(); ++b) {
    seeds_[b] = row_seed(seed, static_cast<uint32_t>(b));
  }
  return plan(belief, state, seeds_.data());
}

}  // namespace planet::cpu
