// Planners of every kind: cold and warm they compute what cem_plan does from the same start.
#include <algorithm>
#include <cmath>

#include "calls.h"
#include "harness.h"
#include "planner.h"
#include "pools.h"
#include "seeds.h"

namespace planet::tests {
namespace {

using cpu::Planner;
using cpu::PlannerOptions;
using Values = std::vector<float>;

constexpr float kLow = -0.5f, kHigh = 2.0f, kMiddle = 0.75f, kHalf = 1.25f;

PlannerOptions options_of(const PlannerSettings& settings) {
  PlannerOptions options(settings);
  options.batch = 2;
  options.horizon = 5;
  options.low = kLow;
  options.high = kHigh;
  return options;
}

// What a plan leaves behind, and what the next one starts from.
struct Outcome {
  Values action, mean, stddev, kept, best;

  bool operator==(const Outcome& other) const {
    return same_bits(action, other.action) && same_bits(mean, other.mean) &&
           same_bits(stddev, other.stddev) && same_bits(kept, other.kept) &&
           same_bits(best, other.best);
  }
};

// Plans with cem_plan itself, from row to row cold or from what was before.
class Below {
 public:
  Below(const RandomModel& source, const PlannerOptions& options, const Plan& inputs)
      : packed_(source, {cpu::best_isa(options.isa), options.precision}),
        options_(options),
        inputs_(inputs),
        width_(static_cast<size_t>(source.sizes.action)),
        last_{Values(), times(kMiddle), times(kHalf * options.initial_stddev),
              Values(2 * 5 * options.keep * width_, NAN), Values()} {}

  // Before another plan: moves on, and makes rows cold that are named.
  void shift(size_t steps, const std::vector<size_t>& cold_rows) {
    const Outcome before = last_;
    const size_t kept = options_.keep * width_;
    last_.stddev = times(kHalf * options_.initial_stddev);
    for (size_t t = 0; t < 5; ++t) {
      for (size_t b = 0; b < 2; ++b) {
        const bool cold = std::find(cold_rows.begin(), cold_rows.end(), b) != cold_rows.end();
        const bool known = t + steps < 5 && !cold;
        const bool repeat = options_.shift == Shift::kRepeat && !cold;
        for (size_t a = 0; a < width_; ++a) {
          const size_t from = known ? t + steps : 4;
          last_.mean[(t * 2 + b) * width_ + a] =
              known || repeat ? before.mean[(from * 2 + b) * width_ + a] : kMiddle;
        }
        for (size_t i = 0; i < kept; ++i) {
          last_.kept[(t * 2 + b) * kept + i] =
              known ? before.kept[((t + steps) * 2 + b) * kept + i] : NAN;
        }
      }
    }
  }

  Outcome plan(int64_t seed) {
    const int64_t seeds[] = {row_seed(seed, 0), row_seed(seed, 1)};
    const Values low(2 * width_, kLow), high(2 * width_, kHigh);
    const Values mix = colour_mix(5, options_.colour, options_.numerics);
    std::vector<int64_t> counts;
    for (double i = 0; i < static_cast<double>(options_.iterations); ++i) {
      counts.push_back(static_cast<int64_t>(
          std::floor(static_cast<double>(options_.candidates) * std::pow(options_.decay, -i))));
    }
    last_.action.assign(2 * width_, 0.0f);
    last_.best.assign(2, 0.0f);
    PlanProblem problem{};
    problem.horizon = 5;
    problem.batch = 2;
    problem.candidates = options_.candidates;
    problem.topk = options_.topk;
    problem.iterations = options_.iterations;
    problem.counts = counts.data();
    problem.latent = {inputs_.belief.data(), inputs_.state.data(), false};
    problem.seeds = seeds;
    problem.low = low.data();
    problem.high = high.data();
    problem.mix = options_.colour > 0 ? mix.data() : nullptr;
    problem.keep = options_.keep;
    problem.kept = last_.kept.data();
    problem.momentum = options_.momentum;
    problem.temperature = options_.temperature;
    problem.output = options_.output;
    problem.epsilon = 1e-6;
    problem.state_noise = true;
    problem.discount = 1.0;
    problem.budget_ms = INFINITY;
    problem.mean = last_.mean.data();
    problem.stddev = last_.stddev.data();
    problem.best_return = last_.best.data();
    problem.action = last_.action.data();
    Fenced<unsigned char> space(cpu::plan_workspace(packed_.model, problem, 1), 8);
    cpu::cem_plan(packed_.model, problem, space.data(), serial(1));
    return last_;
  }

 private:
  Values times(float value) const { return Values(2 * 5 * width_, value); }

  PackedModel packed_;
  PlannerOptions options_;
  const Plan& inputs_;
  size_t width_;
  Outcome last_;
};

// A planner that plans from the same latents each time.
class Above {
 public:
  Above(const RandomModel& source, const PlannerOptions& options, const Plan& inputs)
      : options_(options), inputs_(inputs) {
    std::string error;
    planner = Planner::make({source.sizes, source.min_stddev, source.weights()}, options, error);
    CHECK_EQUAL(error, std::string());
  }

  Outcome plan(int64_t seed) {
    const cpu::Plan plan = planner->plan(inputs_.belief.data(), inputs_.state.data(), seed);
    const int64_t row = 2 * planner->sizes().action, all = 5 * row;
    CHECK_EQUAL(plan.iterations, options_.iterations);
    return {Values(plan.action, plan.action + row), Values(plan.mean, plan.mean + all),
            Values(plan.stddev, plan.stddev + all),
            Values(plan.kept, plan.kept + all * options_.keep),
            Values(plan.best_return, plan.best_return + 2)};
  }

  std::unique_ptr<Planner> planner;

 private:
  PlannerOptions options_;
  const Plan& inputs_;
};

struct Kind {
  const char* name;
  PlannerSettings settings;
};

std::vector<Kind> kinds() {
  PlannerSettings mixed = icem_settings();  // what no planner of a name has
  mixed.numerics = Numerics::kIcem;
  mixed.temperature = 0.25;
  mixed.output = Output::kMean;
  mixed.shift = Shift::kMiddle;
  PlannerSettings cem = cem_settings();
  cem.candidates = 80;
  cem.topk = 9;
  cem.iterations = 2;
  PlannerSettings mppi = mppi_settings();
  mppi.candidates = 70;
  mppi.topk = 20;
  mppi.iterations = 2;
  PlannerSettings shooting = shooting_settings();
  shooting.candidates = 130;
  return {{"cem", cem},
          {"icem", icem_settings()},
          {"mppi", mppi},
          {"shooting", shooting},
          {"mixed", mixed}};
}

const Shape kShape{15, 4, 2, 11, {8, 2}, false};

}  // namespace

TEST("planners of every kind plan as cem_plan does, cold and warm, row by row") {
  Random random(options().seed + 241);
  const RandomModel model(kShape, random);
  for (const Kind& kind : kinds()) {
    for (const Kernels& kernels : chosen_kernels()) {
      PlannerOptions options = options_of(kind.settings);
      options.isa = cpu::isa_name(kernels.isa);
      options.precision = kernels.precision;
      options.threads = 2;
      const Scope scope(kind.name, ", ", kernels.name());
      const Plan inputs(model.sizes, 5, 2, options.candidates, options.topk, random);
      Above above(model, options, inputs);
      if (above.planner == nullptr) return;
      const bool moves = options.shift != Shift::kNone;
      CHECK(!above.planner->shift());  // there is no plan yet
      Below below(model, options, inputs);
      const Outcome cold = below.plan(3);
      CHECK(above.plan(3) == cold);
      CHECK(above.plan(3) == cold);  // unless told so, every plan starts cold
      CHECK(!above.planner->shift(-1));
      CHECK_EQUAL(above.planner->shift(), moves);
      if (!moves) {
        CHECK(above.plan(3) == cold);
        continue;
      }
      below.shift(1, {});
      const Outcome warm = below.plan(4);
      CHECK(above.plan(4) == warm && !(warm == Below(model, options, inputs).plan(4)));
      CHECK(above.planner->shift(2));
      above.planner->cold(1);
      below.shift(2, {1});
      CHECK(above.plan(5) == below.plan(5));
      above.planner->cold(0);  // in either order
      CHECK(above.planner->shift(9));
      below.shift(9, {0});
      CHECK(above.plan(6) == below.plan(6));
      CHECK(above.plan(3) == cold);
    }
  }
}

TEST("a row that is made cold plans as in a planner without a past") {
  Random random(options().seed + 242);
  const RandomModel model(kShape, random);
  const PlannerOptions options = options_of(icem_settings());
  const Plan inputs(model.sizes, 5, 2, options.candidates, options.topk, random);
  Above above(model, options, inputs), fresh(model, options, inputs);
  if (above.planner == nullptr || fresh.planner == nullptr) return;
  above.plan(1);
  CHECK(above.planner->shift());
  above.planner->cold(1);
  const Outcome got = above.plan(2), cold = fresh.plan(2);
  const auto row = [](const Values& values, int64_t width, int64_t t, int64_t b) {
    const auto begin = values.begin() + (t * 2 + b) * width;
    return Values(begin, begin + width);
  };
  for (int64_t t = 0; t < 5; ++t) {
    CHECK(row(got.mean, 2, t, 1) == row(cold.mean, 2, t, 1));
    CHECK(row(got.kept, 6, t, 1) == row(cold.kept, 6, t, 1));
  }
  CHECK(row(got.action, 2, 0, 1) == row(cold.action, 2, 0, 1));
  CHECK(row(got.action, 2, 0, 0) != row(cold.action, 2, 0, 0));
}

TEST("iCEM without what it adds is the cross-entropy method, bit for bit") {
  Random random(options().seed + 243);
  const RandomModel model(kShape, random);
  PlannerSettings plain = icem_settings();
  plain.initial_stddev = 1.0f;
  plain.colour = plain.momentum = 0.0;
  plain.decay = 1.0;
  plain.keep = 0;
  plain.output = Output::kMean;
  plain.shift = Shift::kNone;
  PlannerSettings cem = cem_settings();
  cem.candidates = plain.candidates;
  cem.topk = plain.topk;
  cem.iterations = plain.iterations;
  const Plan inputs(model.sizes, 5, 2, cem.candidates, cem.topk, random);
  Above icem(model, options_of(plain), inputs), expected(model, options_of(cem), inputs);
  if (icem.planner != nullptr && expected.planner != nullptr) {
    CHECK(icem.plan(7) == expected.plan(7));
  }
}

TEST("planners of a name leave other settings as they are") {
  PlannerSettings rest;
  rest.horizon = 3;
  rest.lows = {0.25f, 0.5f};
  rest.discount = 0.5;
  rest.action_repeat = 4;
  rest.budget_ms = 20.0;
  for (const auto make : {cem_settings, icem_settings, mppi_settings, shooting_settings}) {
    const PlannerSettings made = make(rest);
    CHECK(made.lows == rest.lows && made.discount == 0.5 && made.action_repeat == 4);
    CHECK(made.budget_ms == 20.0);
    CHECK_EQUAL(made.horizon, int64_t{3});
  }
}

}  // namespace planet::tests
