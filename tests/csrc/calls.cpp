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

Fit random_fit(Random& random, int64_t horizon, int64_t batch, int64_t candidates, int64_t topk,
               int64_t action_size) {
  const Spread spread = topk > 1 && random.next() % 2 ? Spread::kMeanAbsolute : Spread::kPopulation;
  return {horizon,
          batch,
          candidates,
          topk,
          action_size,
          spread,
          1e-6,
          random.uniforms(horizon * batch * candidates * action_size, -1.0, 1.0),
          random.normals(batch * candidates),
          0.0};
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
       f.spread, f.epsilon, f.temperature, mean.data(), stddev.data(), elites.data(), best.data()},
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

Plan Plan::random(const ModelSizes& sizes, Random& random, int trial) {
  const int64_t candidates = random.integer(2, 90), topk = random.integer(2, candidates);
  Plan out(sizes, random.integer(1, 5), random.integer(1, 3), candidates, topk, random);
  out.first_iteration = trial * 1000;
  out.state_noise = trial % 3 != 0;
  out.spread = trial % 2 ? Spread::kMeanAbsolute : Spread::kPopulation;
  out.discount = trial % 2 ? 0.9 : 1.0;
  out.low = random.uniforms(static_cast<int64_t>(out.low.size()), -1.5, -0.4);
  out.high = random.uniforms(static_cast<int64_t>(out.high.size()), 0.4, 1.5);
  if (trial == 5) out.start_each(sizes, random);
  return out;
}

void Plan::start_each(const ModelSizes& sizes, Random& random) {
  per_candidate = true;
  belief = random.uniforms(batch * candidates * sizes.belief, -0.9, 0.9);
  state = random.normals(batch * candidates * sizes.state);
}

void Plan::relate(const ModelSizes& sizes, Random& random, int kind) {
  const auto has = [kind](int bit) { return (kind >> bit & 1) != 0; };
  if (has(0)) mix = random.uniforms(horizon * horizon, -0.7, 0.7);
  if (has(1)) keep = std::min<int64_t>(topk, random.integer(1, 3));
  if (has(2)) {
    for (int64_t i = 0; i < iterations; ++i) counts.push_back(random.integer(topk, candidates));
  }
  if (has(3)) momentum = random.uniforms(1, 0.05, 0.9)[0];
  if (has(4)) temperature = random.uniforms(1, 0.05, 2.0)[0];
  if (has(4)) spread = Spread::kPopulation;
  if (has(5)) output = Output::kBest;
  const int64_t size = sizes.action, step = batch * keep * size;
  kept = random.uniforms(horizon * step, -2.0, 2.0);
  for (int64_t i = 0; i < horizon * step; ++i) {
    const int64_t e = i / size % keep;
    if ((e == 0 && i < step && i % size == 0) || (e == 1 && i >= step && random.next() % 2)) {
      kept[static_cast<size_t>(i)] = NAN;
    }
  }
}

bool PlanResult::operator==(const PlanResult& other) const {
  return iterations == other.iterations && same_bits(mean, other.mean) &&
         same_bits(stddev, other.stddev) && same_bits(best, other.best) &&
         same_bits(action, other.action) && same_bits(kept, other.kept);
}

PlanCall::PlanCall(const Plan& plan)
    : plan_(plan),
      belief_(plan.belief),
      state_(plan.state),
      low_(plan.low),
      high_(plan.high),
      mix_(plan.mix),
      mean_(plan.mean),
      stddev_(plan.stddev),
      best_(plan.batch),
      action_(static_cast<int64_t>(plan.low.size())),
      kept_(plan.kept),
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
  if (!plan.counts.empty()) problem.counts = plan.counts.data();
  if (!plan.mix.empty()) problem.mix = mix_.data();
  problem.keep = plan.keep;
  problem.kept = kept_.data();
  problem.momentum = plan.momentum;
  problem.temperature = plan.temperature;
  problem.output = plan.output;
  problem.mean = mean_.data();
  problem.stddev = stddev_.data();
  problem.best_return = best_.data();
  problem.action = action_.data();
}

PlanResult PlanCall::result(int64_t iterations) const {
  CHECK(belief_.equals(plan_.belief) && state_.equals(plan_.state) && low_.equals(plan_.low) &&
        high_.equals(plan_.high) && seeds_.equals(plan_.seeds) && mix_.equals(plan_.mix));
  return {iterations,     mean_.values(),   stddev_.values(),
          best_.values(), action_.values(), kept_.values()};
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

}  // namespace

PlanProblem too_large_problem() {
  PlanProblem out{};
  out.horizon = 65535;
  out.batch = int64_t{1} << 40;
  out.candidates = (int64_t{1} << 32) - 1;
  out.topk = 1;
  return out;
}

Plan problem_of(const Plan& plan, const ModelSizes& sizes, int64_t b) {
  const int64_t starts = plan.per_candidate ? plan.candidates : 1;
  Plan out = plan;
  out.batch = 1;
  out.belief = row(plan.belief, b, starts * sizes.belief);
  out.state = row(plan.state, b, starts * sizes.state);
  out.low = row(plan.low, b, sizes.action);
  out.high = row(plan.high, b, sizes.action);
  out.seeds = row(plan.seeds, b, 1);
  out.mean = middle(plan.mean, plan.horizon, plan.batch, sizes.action, b, 1);
  out.stddev = middle(plan.stddev, plan.horizon, plan.batch, sizes.action, b, 1);
  out.kept = middle(plan.kept, plan.horizon, plan.batch, plan.keep * sizes.action, b, 1);
  return out;
}

PlanResult problem_of(const PlanResult& result, const Plan& plan, const ModelSizes& sizes,
                      int64_t b) {
  const auto over_time = [&](const std::vector<float>& all) {
    return middle(all, plan.horizon, plan.batch, sizes.action, b, 1);
  };
  return {result.iterations,
          over_time(result.mean),
          over_time(result.stddev),
          row(result.best, b, 1),
          row(result.action, b, sizes.action),
          middle(result.kept, plan.horizon, plan.batch, plan.keep * sizes.action, b, 1)};
}

}  // namespace planet::tests
