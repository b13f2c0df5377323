#include "calls.h"

namespace planet::tests {

std::vector<float> run_rollout(const cpu::Model& model, const Rollout& r,
                               const Parallel& parallel) {
  Fenced<float> belief(r.belief), state(r.state), actions(r.actions), values(r.values);
  Fenced<int64_t> seeds(r.seeds);
  Fenced<float> returns(r.batch * r.candidates);
  Fenced<float> workspace(cpu::rollout_workspace(model, r.batch, parallel.workers));
  StateNoise noise{nullptr, nullptr, r.iteration, r.particle};
  if (r.noise == NoiseKind::kValues) noise.values = values.data();
  if (r.noise == NoiseKind::kSeeds) noise.seeds = seeds.data();
  cpu::rollout_returns(model, {belief.data(), state.data(), r.per_candidate}, r.horizon, r.batch,
                       r.candidates, actions.data(), noise, r.discount, returns.data(),
                       workspace.data(), parallel);
  CHECK(belief.equals(r.belief) && state.equals(r.state) && actions.equals(r.actions) &&
        values.equals(r.values) && seeds.equals(r.seeds));
  return returns.values();
}

bool FitResult::operator==(const FitResult& other) const {
  return same_bits(mean, other.mean) && same_bits(stddev, other.stddev) && elites == other.elites &&
         same_bits(best, other.best);
}

FitResult run_refit(const Fit& f, const Parallel& parallel) {
  const int64_t outputs = f.horizon * f.batch * f.action_size;
  Fenced<float> actions(f.actions), returns(f.returns);
  Fenced<float> mean(outputs), stddev(outputs), best(f.batch);
  Fenced<int64_t> elites(f.batch * f.topk);
  Fenced<uint64_t> keys(f.batch * f.candidates);
  cpu::refit(
      {f.horizon, f.batch, f.candidates, f.topk, f.action_size, actions.data(), returns.data(),
       f.spread, f.epsilon, mean.data(), stddev.data(), elites.data(), best.data()},
      keys.data(), parallel);
  CHECK(actions.equals(f.actions) && returns.equals(f.returns));
  return {mean.values(), stddev.values(), elites.values(), best.values()};
}

Plan::Plan(const ModelSizes& sizes, int64_t horizon, int64_t batch, int64_t candidates,
           int64_t topk, Random& random)
    : horizon(horizon), batch(batch), candidates(candidates), topk(topk) {
  const size_t bounds = static_cast<size_t>(batch * sizes.action);
  const size_t values = static_cast<size_t>(horizon) * bounds;
  belief = random.uniforms(batch * sizes.belief, -0.9, 0.9);
  state = random.normals(batch * sizes.state);
  low.assign(bounds, -1.0f);
  high.assign(bounds, 1.0f);
  mean.assign(values, 0.0f);
  stddev.assign(values, 1.0f);
  for (int64_t b = 0; b < batch; ++b) seeds.push_back(static_cast<int64_t>(random.next()));
}

bool PlanResult::operator==(const PlanResult& other) const {
  return iterations == other.iterations && same_bits(mean, other.mean) &&
         same_bits(stddev, other.stddev) && same_bits(best, other.best);
}

PlanResult run_plan(const cpu::Model& model, const Plan& p, const Parallel& parallel) {
  Fenced<float> belief(p.belief), state(p.state), low(p.low), high(p.high);
  Fenced<float> mean(p.mean), stddev(p.stddev), best(p.batch);
  Fenced<int64_t> seeds(p.seeds);
  PlanProblem problem{};
  problem.horizon = p.horizon;
  problem.batch = p.batch;
  problem.candidates = p.candidates;
  problem.topk = p.topk;
  problem.iterations = p.iterations;
  problem.first_iteration = p.first_iteration;
  problem.latent = {belief.data(), state.data(), p.per_candidate};
  problem.seeds = seeds.data();
  problem.low = low.data();
  problem.high = high.data();
  problem.spread = p.spread;
  problem.epsilon = p.epsilon;
  problem.state_noise = p.state_noise;
  problem.discount = p.discount;
  problem.budget_ms = p.budget_ms;
  problem.stop = p.stop;
  problem.stop_context = p.stop_context;
  problem.mean = mean.data();
  problem.stddev = stddev.data();
  problem.best_return = best.data();
  Fenced<unsigned char> workspace(cpu::plan_workspace(model, problem, parallel.workers), 8);
  const int64_t iterations = cpu::cem_plan(model, problem, workspace.data(), parallel);
  CHECK(belief.equals(p.belief) && state.equals(p.state) && low.equals(p.low) &&
        high.equals(p.high) && seeds.equals(p.seeds));
  return {iterations, mean.values(), stddev.values(), best.values()};
}

}  // namespace planet::tests
