#include "planner_parts.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <new>
#include <utility>

namespace planet::cpu {
namespace {

std::string check_range(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return {};
  return name + (": expected " + std::to_string(least)) + " to " + std::to_string(most) + ", got " +
         std::to_string(value);
}

// As far as is known without asking for permissions.
std::string supported_names() {
  std::string names;
  for (Isa isa = 0; isa < isa_count(); ++isa) {
    if (isa_refusal(isa) == nullptr)
      names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  return names;
}

// Says which sets have kernels of the precision, and why they are not in use.
std::string check_precision(Precision precision, Isa isa) {
  if (kernels_name(isa, precision) != nullptr) return {};
  std::string sets, reasons;
  for (Isa other = 0; other < isa_count(); ++other) {
    if (!has_own_kernels(other, precision)) continue;
    const char* refusal = isa_refusal(other);
    const std::string name = isa_name(other);
    sets += (sets.empty() ? "" : " or ") + name;
    reasons += (reasons.empty() ? "" : "; ") + name + ": " +
               (refusal != nullptr ? refusal : "this processor runs it, choose it by name");
  }
  const std::string start = std::string("precision: ") + precision_name(precision);
  if (sets.empty()) return start + " has no kernels on this kind of processor";
  return start + " needs the instruction set " + sets + ", got " + isa_name(isa) + " (" + reasons +
         ")";
}

// Says what is wrong with the bounds of the actions, or nothing.
std::string check_box(const PlannerOptions& o, int actions) {
  for (const auto& [name, each] : {std::pair("lows", &o.lows), std::pair("highs", &o.highs)}) {
    if (!each->empty() && each->size() != static_cast<size_t>(actions)) {
      return name + (": expected none or one per action, " + std::to_string(actions)) + ", got " +
             std::to_string(each->size());
    }
  }
  for (size_t a = 0; a < static_cast<size_t>(actions); ++a) {
    const float low = o.lows.empty() ? o.low : o.lows[a];
    const float high = o.highs.empty() ? o.high : o.highs[a];
    if (!(std::isfinite(low) && std::isfinite(high) && low <= high)) {
      return "low, high: expected finite values, low <= high, got " + std::to_string(low) +
             " and " + std::to_string(high);
    }
  }
  return {};
}

std::string show(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

int64_t count_in(const PlannerOptions& o, int64_t iteration) {
  return static_cast<int64_t>(static_cast<double>(o.candidates) *
                              std::pow(o.decay, -static_cast<double>(iteration)));
}

// Says what is wrong with settings that the plain method does not have, or nothing.
std::string check_loop(const PlannerOptions& o) {
  if (o.colour > 0 && o.horizon > kMaxColoured) {
    return "colour: expected 0 for a horizon above " + std::to_string(kMaxColoured) +
           ", as its matrix has H x H numbers, got " + show(o.colour) + " and horizon " +
           std::to_string(o.horizon);
  }
  if (o.colour > 0 && o.numerics == Numerics::kIcem && o.horizon < 2) {
    return "numerics: expected unit for horizon 1, where icem knows no colour, got icem";
  }
  if (!(o.momentum >= 0 && o.momentum < 1)) {
    return "momentum: expected a value in [0, 1), got " + show(o.momentum);
  }
  if (o.temperature > 0 && o.spread != Spread::kPopulation) {
    return "temperature: expected 0 with spread mean_absolute, got " + show(o.temperature);
  }
  if (!(std::isfinite(o.decay) && o.decay >= 1)) {
    return "decay: expected a finite value >= 1, got " + show(o.decay);
  }
  const int64_t last = count_in(o, o.iterations - 1);
  if (o.decay > 1 && o.iterations > 1 && last / 2 < o.topk) {
    return "decay: expected at least 2 K = " + std::to_string(2 * o.topk) +
           " candidates in every iteration, got " + std::to_string(last) +
           " in the last: " + std::to_string(o.candidates) + " * " + show(o.decay) + "^-" +
           std::to_string(o.iterations - 1);
  }
  return {};
}

// The middle of the box and half its width, in double precision: neither sum nor difference
// overflows, and a box of no width has exactly its only action in the middle.
float middle(float low, float high) {
  return static_cast<float>((static_cast<double>(low) + high) / 2);
}

float half_stddev(float low, float high, float initial_stddev) {
  const auto half = static_cast<float>((static_cast<double>(high) - low) / 2);
  return std::min(half * initial_stddev, std::numeric_limits<float>::max());
}

}  // namespace

std::string check_options(const PlannerOptions& o, const ModelSizes& sizes, Isa isa) {
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;
  const struct {
    const char* name;
    int64_t value, least, most;
  } ranges[] = {
      {"batch", o.batch, 1, kMost},
      {"horizon", o.horizon, 1, 65535},
      {"candidates", o.candidates, 1, kMost},
      {"topk", o.topk, o.spread == Spread::kMeanAbsolute ? 2 : 1, o.candidates},
      {"iterations", o.iterations, 1, 65536},
      {"keep", o.keep, 0, o.topk},
      {"threads", o.threads, 1, 1024},
      {"action_repeat", o.action_repeat, 0, kMost},
  };
  for (const auto& range : ranges) {
    std::string error = check_range(range.name, range.value, range.least, range.most);
    if (!error.empty()) return error;
  }
  std::string error = check_box(o, sizes.action);
  if (!error.empty()) return error;
  for (const auto& [name, value] :
       {std::pair("initial_stddev", double{o.initial_stddev}), std::pair("epsilon", o.epsilon),
        std::pair("colour", o.colour), std::pair("temperature", o.temperature),
        std::pair("exploration_stddev", double{o.exploration_stddev})}) {
    if (!(std::isfinite(value) && value >= 0.0)) {
      return name + (": expected a finite value >= 0, got " + std::to_string(value));
    }
  }
  error = check_loop(o);
  if (!error.empty()) return error;
  if (!std::isfinite(o.discount)) {
    return "discount: expected a finite value, got " + std::to_string(o.discount);
  }
  if (!(o.budget_ms > 0.0)) {
    return "budget_ms: expected a value > 0, got " + std::to_string(o.budget_ms);
  }
  if (isa < 0) return "isa: expected one of " + supported_names() + ", got " + o.isa;
  return check_precision(o.precision, isa);
}

void AlignedMemory::take(int64_t bytes) {
  if (bytes < 0) throw std::bad_alloc();
  lines_.resize(static_cast<size_t>(bytes) / sizeof(Line) + 1);
}

PlannerParts::PlannerParts(const WeightView& weights, const PlannerOptions& options, Isa isa)
    : model{weights.sizes, weights.min_stddev, isa, options.precision, nullptr},
      pool(options.threads),
      shift(options.shift) {
  problem.horizon = options.horizon;
  problem.batch = options.batch;
  problem.candidates = options.candidates;
  problem.topk = options.topk;
  problem.iterations = options.iterations;
  problem.spread = options.spread;
  problem.epsilon = options.epsilon;
  problem.state_noise = options.state_noise;
  problem.discount = options.discount;
  problem.budget_ms = options.budget_ms;
  problem.keep = options.keep;
  problem.momentum = options.momentum;
  problem.temperature = options.temperature;
  problem.output = options.output;
  if (options.decay > 1) {
    for (int64_t i = 0; i < options.iterations; ++i) counts.push_back(count_in(options, i));
    problem.counts = counts.data();
  }
  if (options.colour > 0) {
    mix = colour_mix(options.horizon, options.colour, options.numerics);
    problem.mix = mix.data();
  }
}

void PlannerParts::take_memory(const WeightView& weights, const PlannerOptions& options,
                               int64_t workspace_bytes) {
  workspace.take(workspace_bytes);
  packed.take(packed_bytes(model.sizes, model.isa, model.precision));
  pack(model.sizes, weights.weights, model.isa, model.precision, packed.data());
  model.packed = packed.data();

  const size_t actions = static_cast<size_t>(model.sizes.action);
  const size_t row = static_cast<size_t>(options.batch) * actions;
  for (size_t i = 0; i < row; ++i) {
    const size_t a = i % actions;
    low.push_back(options.lows.empty() ? options.low : options.lows[a]);
    high.push_back(options.highs.empty() ? options.high : options.highs[a]);
    first_mean.push_back(middle(low[i], high[i]));
    first_stddev.push_back(half_stddev(low[i], high[i], options.initial_stddev));
  }
  mean.resize(row * options.horizon);
  stddev.resize(row * options.horizon);
  kept.resize(row * options.horizon * options.keep);
  best_return.resize(options.batch);
  action.resize(row);
  problem.low = low.data();
  problem.high = high.data();
  problem.mean = mean.data();
  problem.stddev = stddev.data();
  problem.kept = kept.data();
  problem.best_return = best_return.data();
  problem.action = action.data();
}

Start PlannerParts::start() const {
  return {first_mean.data(), first_stddev.data(), shift, mean.data(), kept.data()};
}

}  // namespace planet::cpu
