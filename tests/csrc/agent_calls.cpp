#include "agent_calls.h"

#include <algorithm>

#include "oracle.h"
#include "philox.h"
#include "pools.h"
#include "seeds.h"

namespace planet::tests {

Stepping::Stepping(const RandomAgent& agent, int64_t batch, Random& random)
    : plan(agent.model.sizes, 3, batch, 40, 6, random),
      filtering(agent.model.sizes, agent.filter.encoder, batch, random) {
  const auto bounds = static_cast<int64_t>(plan.low.size());
  plan.low = random.uniforms(bounds, -1.5, -0.4);
  plan.high = random.uniforms(bounds, 0.4, 1.5);
  const std::vector<float> mean = random.uniforms(bounds, -0.3, 0.3);
  const std::vector<float> stddev = random.uniforms(bounds, 0.2, 1.0);
  for (size_t i = 0; i < plan.mean.size(); ++i) {
    plan.mean[i] = mean[i % mean.size()];
    plan.stddev[i] = stddev[i % stddev.size()];
  }
  for (int64_t b = 0; b < batch; ++b) {
    episode_seeds.push_back(static_cast<int64_t>(random.next()));
    steps.push_back(random.integer(0, 1000));
  }
}

void Stepping::go_on(Shift how, const ModelSizes& sizes, Random& random) {
  plan.relate(sizes, random, 63);
  shift = how;
  past_mean = random.uniforms(static_cast<int64_t>(plan.mean.size()), -0.5, 0.5);
  past_kept = random.normals(static_cast<int64_t>(plan.kept.size()));
}

Stepping Stepping::row(const ModelSizes& sizes, int64_t b) const {
  Stepping out = *this;
  out.plan = problem_of(plan, sizes, b);
  out.filtering = filtering.row(b);
  out.episode_seeds = row_of_batch(episode_seeds, b, plan.batch);
  out.steps = row_of_batch(steps, b, plan.batch);
  const int64_t size = past_mean.empty() ? 0 : sizes.action;
  out.past_mean = middle(past_mean, plan.horizon, plan.batch, size, b, 1);
  out.past_kept = middle(past_kept, plan.horizon, plan.batch, plan.keep * size, b, 1);
  return out;
}

bool Stepped::operator==(const Stepped& other) const {
  return plan == other.plan && filtered == other.filtered && same_bits(action, other.action) &&
         finite == other.finite;
}

Stepped run_step(const RandomAgent& agent, Kernels kernels, const Stepping& in,
                 const Parallel& parallel, Timeline* timeline) {
  const PackedFilter filter(agent.model, agent.filter, kernels.isa);
  const PackedModel model(agent.model, kernels);
  const Filtering& f = in.filtering;
  PlanCall plan(in.plan);
  Fenced<uint8_t> frames(f.frames), finite(in.plan.batch);
  Fenced<float> action(f.action), belief(f.belief), state(f.state);
  Fenced<float> next_belief(static_cast<int64_t>(f.belief.size()));
  Fenced<float> next_state(static_cast<int64_t>(f.state.size()));
  Fenced<float> next_action(static_cast<int64_t>(f.action.size()));
  Fenced<int64_t> episode_seeds(in.episode_seeds), steps(in.steps);
  const size_t row = in.plan.low.size();
  Fenced<float> first_mean(std::vector<float>(in.plan.mean.begin(), in.plan.mean.begin() + row));
  Fenced<float> first_stddev(
      std::vector<float>(in.plan.stddev.begin(), in.plan.stddev.begin() + row));
  std::fill_n(plan.problem.mean, in.plan.mean.size(), NAN);  // the step writes them first
  std::fill_n(plan.problem.stddev, in.plan.stddev.size(), NAN);
  Fenced<float> past_mean(in.past_mean), past_kept(in.past_kept);
  PlanProblem problem = plan.problem;
  problem.latent = {};
  problem.seeds = nullptr;
  const cpu::ControlStep step{
      filter.model,
      model.model,
      problem,
      {f.batch, frames.data(), nullptr, action.data(), belief.data(), state.data(),
       next_belief.data(), next_state.data()},
      {first_mean.data(), first_stddev.data(), in.shift, past_mean.data(), past_kept.data()},
      episode_seeds.data(),
      steps.data(),
      in.explore,
      in.exploration_stddev,
      next_action.data(),
      finite.data()};
  Fenced<unsigned char> space(cpu::control_step_workspace(step, parallel.workers), 64);
  const int64_t iterations = cpu::control_step(step, space.data(), parallel, timeline);
  CHECK(frames.equals(f.frames) && action.equals(f.action) && belief.equals(f.belief) &&
        state.equals(f.state) && episode_seeds.equals(in.episode_seeds) && steps.equals(in.steps) &&
        past_mean.equals(in.past_mean) && past_kept.equals(in.past_kept));
  return {plan.result(iterations),
          {next_belief.values(), next_state.values()},
          next_action.values(),
          finite.values()};
}

namespace {

// What a step's plan begins with, number by number.
void start(const Stepping& in, int64_t size, Plan& plan) {
  const int64_t row = plan.batch * size, last = (plan.horizon - 1) * row;
  plan.kept.assign(plan.kept.size(), NAN);
  for (int64_t i = 0; i < last + row; ++i) {
    const auto here = static_cast<size_t>(i), later = here + static_cast<size_t>(row);
    if (in.shift == Shift::kNone || in.steps[here % row / size] == 0) continue;
    if (i >= last) {
      if (in.shift == Shift::kRepeat) plan.mean[here] = in.past_mean[here];
      continue;
    }
    plan.mean[here] = in.past_mean[later];
    for (int64_t e = 0; e < plan.keep; ++e) {
      const auto of = [&](size_t at) { return (at / size * plan.keep + e) * size + at % size; };
      plan.kept[of(here)] = in.past_kept[of(later)];
    }
  }
}

}  // namespace

Stepped step_of_parts(const RandomAgent& agent, Kernels kernels, const Stepping& in) {
  Filtering filtering = in.filtering;
  Plan plan = in.plan;
  for (size_t b = 0; b < in.steps.size(); ++b) {
    const int64_t seed = mix_seed(in.episode_seeds[b], static_cast<uint64_t>(in.steps[b]));
    filtering.seeds[b] = plan.seeds[b] = seed;
  }
  Stepped out;
  const PackedFilter filter(agent.model, agent.filter, kernels.isa);
  out.filtered = run_filter(filter.model, filtering, serial(1));
  plan.belief = out.filtered.belief;
  plan.state = out.filtered.state;
  start(in, agent.model.sizes.action, plan);
  out.plan = run_plan(PackedModel(agent.model, kernels).model, plan, serial(1));
  const int size = agent.model.sizes.action;
  for (size_t i = 0; i < plan.low.size(); ++i) {
    const size_t b = i / static_cast<size_t>(size), a = i % static_cast<size_t>(size);
    const double low = plan.low[i], high = plan.high[i], planned = out.plan.action[i];
    const double normal = oracle_normals(plan.seeds[b], {kStreamExploration, 0, 0, 0}, 1, size)[a];
    const double moved = planned + in.exploration_stddev * normal * (high - low) / 2;
    out.action.push_back(in.explore ? static_cast<float>(std::clamp(moved, low, high))
                                    : out.plan.action[i]);
  }
  out.finite.assign(in.steps.size(), 1);
  return out;
}

}  // namespace planet::tests
