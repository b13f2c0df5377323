// The planner class: what cem_plan computes, with memory and threads of its own.
#include "planner.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "calls.h"
#include "harness.h"
#include "pools.h"
#include "seeds.h"

namespace planet::tests {
namespace {

using cpu::Planner;
using cpu::PlannerOptions;

PlannerOptions small_plan() {
  PlannerOptions options;
  options.batch = 2;
  options.horizon = 4;
  options.candidates = 70;
  options.topk = 9;
  options.iterations = 3;
  return options;
}

WeightView view_of(const RandomModel& model) {
  return {model.sizes, model.min_stddev, model.weights()};
}

// Mean, stddev and best return in one.
std::vector<float> all_of(const cpu::Plan& plan, const PlannerOptions& options, int action) {
  const int64_t row = options.batch * action;
  std::vector<float> out(plan.mean, plan.mean + options.horizon * row);
  out.insert(out.end(), plan.stddev, plan.stddev + options.horizon * row);
  out.insert(out.end(), plan.best_return, plan.best_return + options.batch);
  return out;
}

// The same from the layer below, with memory of the very size and threads of its own, for a plan
// that holds the start.
std::vector<float> plan_below(const RandomModel& source, Kernels kernels,
                              const PlannerOptions& options, Plan plan, int64_t seed) {
  const PackedModel packed(source, kernels);
  const size_t action = static_cast<size_t>(source.sizes.action), row = plan.low.size();
  for (size_t i = 0; i < plan.mean.size(); ++i) {
    const float high = options.highs.empty() ? options.high : options.highs[i % action];
    plan.low[i % row] = options.low;
    plan.high[i % row] = high;
    plan.mean[i] = (options.low + high) / 2.0f;
    plan.stddev[i] = (high - options.low) / 2.0f * options.initial_stddev;
  }
  for (uint32_t b = 0; b < plan.seeds.size(); ++b) plan.seeds[b] = row_seed(seed, b);
  plan.iterations = options.iterations;
  plan.spread = options.spread;
  plan.epsilon = options.epsilon;
  plan.state_noise = options.state_noise;
  plan.discount = options.discount;
  plan.budget_ms = options.budget_ms;
  PlanResult out = run_plan(packed.model, plan, serial(1));
  out.mean.insert(out.mean.end(), out.stddev.begin(), out.stddev.end());
  out.mean.insert(out.mean.end(), out.best.begin(), out.best.end());
  return out.mean;
}

std::string error_of(const PlannerOptions& options, const RandomModel& model) {
  std::string error;
  const auto planner = Planner::make(view_of(model), options, error);
  CHECK((planner == nullptr) == !error.empty());
  return error;
}

}  // namespace

TEST("a planner's plans are those of cem_plan, for any number of threads") {
  Random random(options().seed);
  for (const Shape& shape : {Shape{33, 7, 3, 20, {16, 1}, false}, Shape{0, 5, 2, 9, {2}, true}}) {
    const RandomModel model(shape, random);
    for (const Kernels& kernels : chosen_kernels()) {
      for (const int threads : {1, 2, 3}) {
        const Scope scope(shape.name(), ", ", kernels.name(), ", threads ", threads);
        PlannerOptions options = small_plan();
        options.isa = cpu::isa_name(kernels.isa);
        options.precision = kernels.precision;
        options.threads = threads;
        options.discount = 0.9;
        options.low = -0.5f;
        options.high = 2.0f;
        options.initial_stddev = 0.75f;
        if (threads == 2) options.highs.assign(model.sizes.action, 0.25f), options.highs[0] = 4.0f;
        std::string error;
        const auto planner = Planner::make(view_of(model), options, error);
        CHECK_EQUAL(error, std::string());
        if (planner == nullptr) return;
        CHECK_EQUAL(std::string(planner->isa()), std::string(options.isa));
        const Plan start(model.sizes, options.horizon, options.batch, options.candidates,
                         options.topk, random);
        for (const int64_t seed : {int64_t{3}, int64_t{-4}, int64_t{3}}) {
          const cpu::Plan plan = planner->plan(start.belief.data(), start.state.data(), seed);
          CHECK_EQUAL(plan.iterations, options.iterations);
          CHECK(std::equal(plan.action, plan.action + start.low.size(), plan.mean));
          CHECK(same_bits(all_of(plan, options, model.sizes.action),
                          plan_below(model, kernels, options, start, seed)));
        }
      }
    }
  }
}

// One action, one step: reward -|action - 15|.
RandomModel distance_to_15(Random& random) {
  RandomModel model(Shape{0, 1, 1, 2, {2, 1}, false}, random);
  model.input_weight = {0, 1, 0, -1};  // of state and action: the action's two signs
  model.input_bias = {0, 0};
  model.prior_hidden_weight = {1, 0, 0, 1};
  model.prior_hidden_bias = {0, 0};
  model.prior_weight = {1, -1, 0, 0};  // the state is the action
  model.prior_bias = {0, -100};
  model.reward_weights = {{1, -1}, {-1, -1}};
  model.reward_biases = {{-15, 15}, {0}};
  model.min_stddev = 0.0f;
  return model;
}

TEST("a planner finds what lies anywhere in its box") {
  Random random(options().seed);
  const RandomModel model = distance_to_15(random);
  constexpr float kMost = std::numeric_limits<float>::max();
  const struct {
    float low, high, expected, tolerance;
  } boxes[] = {
      {10, 20, 15, 0.05f},         {0, 30, 15, 0.05f},
      {14, 16, 15, 0.05f},         {-3000, 3000, 15, 3},
      {16, 20, 16, 0.0f},          {17, 17, 17, 0.0f},
      {0.1f, 0.1f, 0.1f, 0.0f},    {1e-45f, 1e-45f, 1e-45f, 0.0f},
      {kMost, kMost, kMost, 0.0f}, {-kMost, kMost, 0, kMost},
  };
  for (const auto& box : boxes) {
    const Scope scope("box ", box.low, " to ", box.high);
    PlannerOptions options;
    options.horizon = 1;
    options.low = box.low;
    options.high = box.high;
    std::string error;
    const auto planner = Planner::make(view_of(model), options, error);
    CHECK_EQUAL(error, std::string());
    if (planner == nullptr) return;
    const float start = 0;
    const cpu::Plan plan = planner->plan(nullptr, &start, int64_t{1});
    const float action = plan.action[0];
    CHECK(std::isfinite(action) && action >= box.low && action <= box.high);
    CHECK(std::abs(action - box.expected) <= box.tolerance);
  }
}

// What is said where there are kernels at least for other processors of the kind.
std::string needs(const char* what) {
#if defined(__x86_64__)
  return std::string("needs ") + what;
#else
  static_cast<void>(what);
  return "has no kernels on this kind of processor";
#endif
}

struct Wrong {
  PlannerOptions options;
  std::string error;  // how it begins; empty: there is none
};

template <class Change>
PlannerOptions with(Change change) {
  PlannerOptions options = small_plan();
  change(options);
  return options;
}

void check_errors(const std::vector<Wrong>& cases) {
  Random random(options().seed);
  const RandomModel model(Shape{5, 3, 2, 7, {6, 1}, false}, random);
  CHECK_EQUAL(error_of(small_plan(), model), std::string());
  for (const Wrong& one : cases) {
    const std::string error = error_of(one.options, model);
    const Scope scope("got ", error);
    CHECK_EQUAL(one.error.empty(), error.empty());
    CHECK_EQUAL(error.substr(0, one.error.size()), one.error);
  }
}

TEST("wrong options of a planner are explained") {
  check_errors({
      {with([](auto& o) { o.batch = 0; }), "batch: expected 1 to 2147483647, got 0"},
      {with([](auto& o) { o.horizon = 65536; }), "horizon: expected 1 to 65535, got 65536"},
      {with([](auto& o) { o.candidates = -1; }), "candidates: expected 1 to 2147483647, got -1"},
      {with([](auto& o) { o.topk = 71; }), "topk: expected 1 to 70, got 71"},
      {with([](auto& o) { o.topk = 1, o.spread = Spread::kMeanAbsolute; }),
       "topk: expected 2 to 70, got 1"},
      {with([](auto& o) { o.iterations = 0; }), "iterations: expected 1 to 65536, got 0"},
      {with([](auto& o) { o.threads = 0; }), "threads: expected 1 to 1024, got 0"},
      {with([](auto& o) { o.action_repeat = -1; }),
       "action_repeat: expected 0 to 2147483647, got -1"},
      {with([](auto& o) { o.initial_stddev = -1; }),
       "initial_stddev: expected a finite value >= 0"},
      {with([](auto& o) { o.low = 1.5f; }), "low, high: expected finite values, low <= high"},
      {with([](auto& o) { o.high = NAN; }), "low, high: expected finite values, low <= high"},
      {with([](auto& o) { o.lows = {0.0f}; }), "lows: expected none or one per action, 2, got 1"},
      {with([](auto& o) { o.highs = {0.0f, -2.0f}; }), "low, high: expected finite values"},
      {with([](auto& o) { o.precision = Precision::kFloat16; }),
       "precision: fp16 has no kernels on this kind of processor"},
      {with([](auto& o) { o.epsilon = -1.0; }), "epsilon: expected a finite value >= 0"},
      {with([](auto& o) { o.discount = INFINITY; }), "discount: expected a finite value"},
      {with([](auto& o) { o.budget_ms = 0.0; }), "budget_ms: expected a value > 0"},
      {with([](auto& o) { o.isa = "mmx"; }), "isa: expected one of "},
      {with([](auto& o) { o.precision = Precision::kInt8, o.isa = cpu::isa_name(0); }),
       "precision: int8 " + needs("the instruction set avx512vnni, got baseline (avx512vnni: ")},
      {with([](auto& o) { o.precision = Precision::kBfloat16, o.isa = cpu::isa_name(0); }),
       "precision: bf16 " + needs("the instruction set ")},
  });
}

TEST("wrong settings of what the plain method does not have are explained") {
  check_errors({
      {with([](auto& o) { o.keep = 10; }), "keep: expected 0 to 9, got 10"},
      {with([](auto& o) { o.colour = -1.0; }), "colour: expected a finite value >= 0"},
      {with([](auto& o) { o.colour = 0.25, o.horizon = 1025; }),
       "colour: expected 0 for a horizon above 1024, as its matrix has H x H numbers, got 0.25"},
      {with([](auto& o) { o.colour = 0.25, o.numerics = Numerics::kIcem, o.horizon = 1; }),
       "numerics: expected unit for horizon 1, where icem knows no colour, got icem"},
      {with([](auto& o) { o.momentum = 1.0; }), "momentum: expected a value in [0, 1), got 1"},
      {with([](auto& o) { o.temperature = NAN; }), "temperature: expected a finite value >= 0"},
      {with([](auto& o) { o.temperature = 0.5, o.spread = Spread::kMeanAbsolute; }),
       "temperature: expected 0 with spread mean_absolute, got 0.5"},
      {with([](auto& o) { o.decay = 0.5; }), "decay: expected a finite value >= 1, got 0.5"},
      {with([](auto& o) { o.decay = 2.0; }),
       "decay: expected at least 2 K = 18 candidates in every iteration, got 17 in the last: "
       "70 * 2^-2"},
  });
  PlannerOptions decaying = small_plan();
  decaying.decay = std::sqrt(70.0 / 18.0) - 1e-9;  // 18 = 2 K in the last
  check_errors({{decaying, ""}});
}

TEST("a plan that memory cannot hold is refused") {
  Random random(options().seed);
  const RandomModel model(Shape{5, 3, 2, 7, {6, 1}, false}, random);
  PlannerOptions options = small_plan();
  options.batch = options.candidates = (int64_t{1} << 31) - 1;
  options.horizon = 65535;
  CHECK_EQUAL(error_of(options, model).substr(0, 20), std::string("memory and threads: "));
}

}  // namespace planet::tests
