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

PlanCall::PlanCall(const Plan& plan)
    : plan_(plan),
      belief_(plan.belief),
      state_(plan.state),
      low_(plan.low),
      high_(plan.high),
      mean_(plan.mean),
      stddev_(plan.stddev),
      best_(plan.batch),
      seeds_(plan.seeds) {
  problem.horizon = plan.horizon;
  problem.batch = plan.batch;
  problem.candidates = plan.candidates;
  problem.topk = plan.topk;
  problem.iterations = plan.iterations;
  problem.first_iteration = plan.first_iteration;
  problem.latent = {belief_.data(), state_.data(), plan.per_candidate};
  problem.seeds = seeds_.data();
  problem.low = low_.data();
  problem.high = high_.data();
  problem.spread = plan.spread;
  problem.epsilon = plan.epsilon;
  problem.state_noise = plan.state_noise;
  problem.discount = plan.discount;
  problem.budget_ms = plan.budget_ms;
  problem.stop = plan.stop;
  problem.stop_context = plan.stop_context;
  problem.mean = mean_.data();
  problem.stddev = stddev_.data();
  problem.best_return = best_.data();
}

PlanResult PlanCall::result(int64_t iterations) const {
  CHECK(belief_.equals(plan_.belief) && state_.equals(plan_.state) && low_.equals(plan_.low) &&
        high_.equals(plan_.high) && seeds_.equals(plan_.seeds));
  return {iterations, mean_.values(), stddev_.values(), best_.values()};
}

PlanResult run_plan(const cpu::Model& model, const Plan& plan, const Parallel& parallel) {
  PlanCall call(plan);
  Fenced<unsigned char> workspace(cpu::plan_workspace(model, call.problem, parallel.workers), 8);
  return call.result(cpu::cem_plan(model, call.problem, workspace.data(), parallel));
}

namespace {

// Row b of [B, width].
template <class T>
std::vector<T> row(const std::vector<T>& all, int64_t b, int64_t width) {
  return {all.begin() + b * width, all.begin() + (b + 1) * width};
}

// [H, B, A] of problem b: [H, 1, A].
std::vector<float> over_time(const std::vector<float>& all, const Plan& plan, int64_t width,
                             int64_t b) {
  std::vector<float> out;
  for (int64_t t = 0; t < plan.horizon; ++t) {
    const std::vector<float> step = row(all, t * plan.batch + b, width);
    out.insert(out.end(), step.begin(), step.end());
  }
  return out;
}

}  // namespace

Plan problem_of(const Plan& plan, const ModelSizes& sizes, int64_t b) {
  const int64_t starts = plan.per_candidate ? plan.candidates : 1;
  Plan out = plan;
  out.batch = 1;
  out.belief = row(plan.belief, b, starts * sizes.belief);
  out.state = row(plan.state, b, starts * sizes.state);
  out.low = row(plan.low, b, sizes.action);
  out.high = row(plan.high, b, sizes.action);
  out.seeds = row(plan.seeds, b, 1);
  out.mean = over_time(plan.mean, plan, sizes.action, b);
  out.stddev = over_time(plan.stddev, plan, sizes.action, b);
  return out;
}

PlanResult problem_of(const PlanResult& result, const Plan& plan, const ModelSizes& sizes,
                      int64_t b) {
  return {result.iterations, over_time(result.mean, plan, sizes.action, b),
          over_time(result.stddev, plan, sizes.action, b), row(result.best, b, 1)};
}

}  // namespace planet::tests
