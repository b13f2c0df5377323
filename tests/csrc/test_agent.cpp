// The agent class: what control_step computes, from frame to frame, with memory of its own.
#include "agent.h"

#include <cmath>

#include "agent_calls.h"
#include "harness.h"
#include "pools.h"
#include "seeds.h"

namespace planet::tests {
namespace {

using cpu::Agent;
using cpu::AgentOptions;

const FilterShape kShape{{15, 4, 3, 12, {9, 2}, false}, 7, 5, {{3, 2, 1}, {17, 3, 2}}};

WeightView view_of(const RandomAgent& agent) {
  WeightView out{};
  out.sizes = agent.model.sizes;
  out.min_stddev = agent.model.min_stddev;
  out.weights = agent.model.weights();
  out.encoder = agent.filter.encoder;
  out.filter = agent.filter.weights();
  return out;
}

AgentOptions small_options(Kernels kernels, int64_t batch = 1, int threads = 1,
                           Shift shift = Shift::kNone) {
  AgentOptions options;
  options.isa = cpu::isa_name(kernels.isa);
  options.precision = kernels.precision;
  options.batch = batch;
  options.threads = threads;
  options.horizon = 3;
  options.candidates = 40;
  options.topk = 6;
  options.iterations = 2;
  options.lows = {-0.5f, -1.0f, 0.25f};
  options.highs = {1.5f, 2.0f, 0.75f};
  options.exploration_stddev = 0.4f;
  if (shift == Shift::kNone) return options;
  options.shift = shift;
  options.keep = 3;
  options.momentum = 0.1;
  options.output = Output::kBest;
  return options;
}

std::unique_ptr<Agent> make(const RandomAgent& source, const AgentOptions& options) {
  std::string error;
  auto agent = Agent::make(view_of(source), options, error);
  CHECK_EQUAL(error, std::string());
  return agent;
}

std::vector<uint8_t> random_frames(const Agent& agent, Random& random) {
  return Filtering(agent.sizes(), kShape.encoder(), agent.batch(), random).frames;
}

// What an agent remembers, and the action of its next step.
std::vector<float> all_of(Agent& agent, const std::vector<uint8_t>& frames, bool explore) {
  const ModelSizes& sizes = agent.sizes();
  const cpu::Step step = agent.act(frames.data(), explore);
  CHECK(step.finite);
  std::vector<float> out(step.action, step.action + agent.batch() * sizes.action);
  out.insert(out.end(), step.best_return, step.best_return + agent.batch());
  out.insert(out.end(), agent.belief(), agent.belief() + agent.batch() * sizes.belief);
  out.insert(out.end(), agent.state(), agent.state() + agent.batch() * sizes.state);
  return out;
}

// Runs control_step from frame to frame; keeps by itself what an agent keeps.
class Below {
 public:
  Below(const RandomAgent& source, Kernels kernels, const AgentOptions& options, Random& random)
      : source_(source), kernels_(kernels), inputs_(source, options.batch, random) {
    Plan& plan = inputs_.plan;
    for (size_t i = 0; i < plan.mean.size(); ++i) {
      const float low = options.lows[i % 3], high = options.highs[i % 3];
      if (i < plan.low.size()) plan.low[i] = low, plan.high[i] = high;
      plan.mean[i] = (low + high) / 2;
      plan.stddev[i] = (high - low) / 2;
    }
    plan.iterations = options.iterations;
    plan.keep = options.keep;
    plan.momentum = options.momentum;
    plan.output = options.output;
    plan.kept.resize(plan.mean.size() * static_cast<size_t>(plan.keep));
    inputs_.shift = options.shift;
    inputs_.past_mean = plan.mean;
    inputs_.past_kept = plan.kept;
    inputs_.exploration_stddev = options.exploration_stddev;
  }

  void reset(int64_t seed) {
    Filtering& f = inputs_.filtering;
    for (auto* values : {&f.belief, &f.state, &f.action}) values->assign(values->size(), 0.0f);
    for (size_t b = 0; b < inputs_.steps.size(); ++b) {
      inputs_.episode_seeds[b] = mix_seed(row_seed(seed, static_cast<uint32_t>(b)), 0);
      inputs_.steps[b] = 0;
    }
  }

  std::vector<float> act(const std::vector<uint8_t>& frames, bool explore) {
    Filtering& f = inputs_.filtering;
    f.frames = frames;
    inputs_.explore = explore;
    const Stepped step = run_step(source_, kernels_, inputs_, serial(1));
    f.belief = step.filtered.belief;
    f.state = step.filtered.state;
    f.action = step.action;
    inputs_.past_mean = step.plan.mean;
    inputs_.past_kept = step.plan.kept;
    for (int64_t& count : inputs_.steps) ++count;
    std::vector<float> out = step.action;
    for (const auto& part : {step.plan.best, f.belief, f.state}) {
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  }

  void executed(const std::vector<float>& action) { inputs_.filtering.action = action; }

 private:
  const RandomAgent& source_;
  Kernels kernels_;
  Stepping inputs_;
};

}  // namespace

TEST("an agent's steps are those of control_step, for any number of threads") {
  Random random(options().seed + 180);
  const RandomAgent source(kShape, random);
  for (const Kernels& kernels : chosen_kernels()) {
    for (const int64_t batch : {1, 2}) {
      for (const int threads : {1, 2, 3}) {
        const Scope scope(kernels.name(), ", batch ", batch, ", threads and shift ", threads);
        const auto shift = static_cast<Shift>(threads - 1);
        const AgentOptions options = small_options(kernels, batch, threads, shift);
        const auto agent = make(source, options);
        if (agent == nullptr) return;
        CHECK_EQUAL(std::string(agent->isa()), std::string(options.isa));
        CHECK_EQUAL(agent->image_size(), kShape.image_size);
        Below below(source, kernels, options, random);
        below.reset(0);  // as an agent begins
        for (int t = 0; t < 8; ++t) {
          if (t == 5) agent->reset(int64_t{-3}), below.reset(-3);
          const std::vector<uint8_t> frames = random_frames(*agent, random);
          CHECK(same_bits(all_of(*agent, frames, t % 2 == 1), below.act(frames, t % 2 == 1)));
          if (t % 3 != 2) continue;
          const std::vector<float> action = random.uniforms(3 * batch, -2.0, 2.0);
          CHECK(agent->executed(action.data()));
          below.executed(action);
        }
      }
    }
  }
}

TEST("a row that begins again acts as an agent of its own, and the others go on") {
  Random random(options().seed + 181);
  const RandomAgent source(kShape, random);
  const Kernels kernels = chosen_kernels().back();
  const Shift shift = Shift::kRepeat;
  const auto agent = make(source, small_options(kernels, 3, 1, shift));
  std::vector<std::unique_ptr<Agent>> alone;
  for (int b = 0; b < 3; ++b) alone.push_back(make(source, small_options(kernels, 1, 1, shift)));
  const int64_t seeds[] = {5, -6, int64_t{1} << 62};
  agent->reset(seeds);
  for (int b = 0; b < 3; ++b) alone[b]->reset(seeds + b);
  for (int t = 0; t < 5; ++t) {
    if (t == 3) {
      agent->reset_row(1, 77);
      alone[1]->reset_row(0, 77);
    }
    const std::vector<uint8_t> frames = random_frames(*agent, random);
    const cpu::Step all = agent->act(frames.data(), true);
    for (int64_t b = 0; b < 3; ++b) {
      const Scope scope("step ", t, ", row ", b);
      const cpu::Step one = alone[b]->act(row_of_batch(frames, b, 3).data(), true);
      CHECK(memcmp(one.action, all.action + 3 * b, 3 * sizeof(float)) == 0);
      CHECK_EQUAL(one.best_return[0], all.best_return[b]);
    }
  }
}

TEST("a step that is not finite leaves the agent as it was") {
  Random random(options().seed + 182);
  RandomAgent source(kShape, random);
  for (float& weight : source.model.input_weight) weight *= 30.0f;
  for (const Kernels& kernels : chosen_kernels()) {
    const Scope scope(kernels.name());
    const AgentOptions options = small_options(kernels, 2, 1, Shift::kMiddle);
    const auto agent = make(source, options), untroubled = make(source, options);
    const std::vector<uint8_t> frames = random_frames(*agent, random);
    all_of(*agent, frames, false);
    all_of(*untroubled, frames, false);
    const std::vector<float> sane = {0.5f, 0.0f, 0.5f, 0.0f, 0.0f, 0.25f};
    std::vector<float> huge = sane;
    huge[4] = 3e38f;  // finite, but its products are not
    CHECK(agent->executed(huge.data()));
    for (int trial = 0; trial < 2; ++trial) {
      const cpu::Step step = agent->act(frames.data());
      CHECK(!step.finite);
      CHECK(step.finite_rows[0] == 1 && step.finite_rows[1] == 0);
    }
    std::vector<float> none = sane;
    none[1] = NAN;
    CHECK(!agent->executed(none.data()));
    CHECK(!agent->act(frames.data()).finite);  // still the huge one
    CHECK(agent->executed(sane.data()) && untroubled->executed(sane.data()));
    CHECK(same_bits(all_of(*agent, frames, true), all_of(*untroubled, frames, true)));
  }
}

TEST("an agent's threads, batch and settings are explained, and so is a file without encoder") {
  Random random(options().seed + 183);
  const RandomAgent source(kShape, random);
  const auto error_of = [](const WeightView& view, const AgentOptions& options) {
    std::string error;
    CHECK(Agent::make(view, options, error) == nullptr);
    return error;
  };
  const Kernels kernels = chosen_kernels().front();
  AgentOptions options = small_options(kernels);
  options.exploration_stddev = NAN;
  CHECK_EQUAL(error_of(view_of(source), options).substr(0, 48),
              std::string("exploration_stddev: expected a finite value >= 0"));
  options = small_options(kernels, 1, 0);
  CHECK_EQUAL(error_of(view_of(source), options),
              std::string("threads: expected 1 to 1024, got 0"));
  WeightView old = view_of(source);
  old.encoder = {};
  old.filter = {};
  CHECK_EQUAL(error_of(old, small_options(kernels)),
              std::string("image_size: expected 1 to 1024, got 0: the file has no encoder; "
                          "export the run again"));
}

}  // namespace planet::tests
