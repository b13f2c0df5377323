#include "planner.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <utility>

#include "seeds.h"

namespace planet::cpu {
namespace {

std::string check_range(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return {};
  return name + (": expected " + std::to_string(least)) + " to " + std::to_string(most) + ", got " +
         std::to_string(value);
}

std::string supported_names() {
  std::string names;
  for (Isa isa = 0; isa < isa_count(); ++isa) {
    if (isa_supported(isa)) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  return names;
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

// Says what is wrong with the options, or nothing.
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
      {"threads", o.threads, 1, 1024},
      {"action_repeat", o.action_repeat, 0, kMost},
  };
  for (const auto& range : ranges) {
    std::string error = check_range(range.name, range.value, range.least, range.most);
    if (!error.empty()) return error;
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  if (!(finite(o.initial_stddev) && o.initial_stddev >= 0.0f)) {
    return "initial_stddev: expected a finite value >= 0, got " + std::to_string(o.initial_stddev);
  }
  std::string error = check_box(o, sizes.action);
  if (!error.empty()) return error;
  if (!(finite(o.epsilon) && o.epsilon >= 0.0)) {
    return "epsilon: expected a finite value >= 0, got " + std::to_string(o.epsilon);
  }
  if (!finite(o.discount)) {
    return "discount: expected a finite value, got " + std::to_string(o.discount);
  }
  if (!(o.budget_ms > 0.0)) {
    return "budget_ms: expected a value > 0, got " + std::to_string(o.budget_ms);
  }
  if (isa < 0) return "isa: expected one of " + supported_names() + ", got " + o.isa;
  if (o.precision != Precision::kFloat32 && o.precision != Precision::kInt8) {
    return "precision: expected fp32 or int8, got one of a GPU (fp16, bf16)";
  }
  if (o.precision == Precision::kInt8 && !isa_has_int8(isa)) {
    return std::string("precision: int8 has no kernels for ") + isa_name(isa);
  }
  return {};
}

// The middle of the box and half its width, in double precision: neither sum nor difference
// overflows, and a box of no width has exactly its only action in the middle.
float middle(float low, float high) {
  return static_cast<float>((static_cast<double>(low) + high) / 2);
}

float first_stddev(float low, float high, float initial_stddev) {
  const auto half = static_cast<float>((static_cast<double>(high) - low) / 2);
  return std::min(half * initial_stddev, std::numeric_limits<float>::max());
}

}  // namespace

std::unique_ptr<Planner> Planner::make(const WeightView& weights, const PlannerOptions& options,
                                       std::string& error) {
  const Isa isa = best_isa(options.isa);
  error = check_options(options, weights.sizes, isa);
  if (!error.empty()) return nullptr;
  try {
    return std::unique_ptr<Planner>(new Planner(weights, options, isa));
  } catch (const std::exception& failure) {  // no memory, or no threads
    error = std::string("memory and threads: the system refused them: ") + failure.what();
    return nullptr;
  }
}

Planner::Planner(const WeightView& weights, const PlannerOptions& options, Isa isa)
    : model_{weights.sizes, weights.min_stddev, isa, options.precision, nullptr},
      pool_(options.threads) {
  const auto lines = [](int64_t bytes) {
    if (bytes < 0) throw std::bad_alloc();
    return static_cast<size_t>(bytes) / sizeof(CacheLine) + 1;
  };
  problem_.horizon = options.horizon;
  problem_.batch = options.batch;
  problem_.candidates = options.candidates;
  problem_.topk = options.topk;
  problem_.iterations = options.iterations;
  problem_.spread = options.spread;
  problem_.epsilon = options.epsilon;
  problem_.state_noise = options.state_noise;
  problem_.discount = options.discount;
  problem_.budget_ms = options.budget_ms;
  // By far the largest part, so what is too much is refused here. Filled with zeros, so that the
  // first plan meets no page that is not there yet.
  workspace_.resize(lines(plan_workspace(model_, problem_, options.threads)));

  packed_.resize(lines(packed_bytes(weights.sizes, isa, options.precision)));
  pack(weights.sizes, weights.weights, isa, options.precision, packed_.data());
  model_.packed = packed_.data();

  const size_t row = static_cast<size_t>(options.batch) * weights.sizes.action;
  for (size_t i = 0; i < row; ++i) {
    const size_t a = i % weights.sizes.action;
    low_.push_back(options.lows.empty() ? options.low : options.lows[a]);
    high_.push_back(options.highs.empty() ? options.high : options.highs[a]);
    first_mean_.push_back(middle(low_[i], high_[i]));
    first_stddev_.push_back(first_stddev(low_[i], high_[i], options.initial_stddev));
  }
  mean_.resize(row * options.horizon);
  stddev_.resize(row * options.horizon);
  best_return_.resize(options.batch);
  seeds_.resize(options.batch);
  problem_.low = low_.data();
  problem_.high = high_.data();
  problem_.mean = mean_.data();
  problem_.stddev = stddev_.data();
  problem_.best_return = best_return_.data();
}

Plan Planner::plan(const float* belief, const float* state, const int64_t* seeds) {
  for (size_t i = 0; i < mean_.size(); ++i) {
    mean_[i] = first_mean_[i % first_mean_.size()];
    stddev_[i] = first_stddev_[i % first_stddev_.size()];
  }
  PlanProblem problem = problem_;
  problem.latent = {belief, state, false};
  problem.seeds = seeds;
  const int64_t done = cem_plan(model_, problem, workspace_.data(), pool_.parallel());
  return {mean_.data(), mean_.data(), stddev_.data(), best_return_.data(), done};
}

Plan Planner::plan(const float* belief, const float* state, int64_t seed) {
  for (size_t b = 0; b < seeds_.size(); ++b) {
    seeds_[b] = row_seed(seed, static_cast<uint32_t>(b));
  }
  return plan(belief, state, seeds_.data());
}

}  // namespace planet::cpu
