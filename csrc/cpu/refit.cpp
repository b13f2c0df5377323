// Selects the elites and fits mean and spread to them.
#include "../refit.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "../order.h"
#include "elites.h"

namespace planet::cpu {
namespace {

constexpr int64_t kBlock = 64;  // features that are summed at a time

struct Work {
  const RefitProblem& problem;
  uint64_t* keys;
  std::atomic<int64_t> next;
};

// Writes a value of the new distribution.
void blend(double momentum, double fitted, float& value) {
  value =
      static_cast<float>(momentum == 0.0 ? fitted : momentum * value + (1.0 - momentum) * fitted);
}

// The features [first, first + count) of fit_elites.
void fit_block(const FitRule& rule, const float* actions, int64_t size, int64_t count,
               const int64_t* elites, float* mean_out, float* stddev_out) {
  double mean[kBlock] = {}, sum[kBlock] = {};
  const int64_t topk = rule.topk;
  const bool population = rule.spread == Spread::kPopulation;
  const auto row = [&](int64_t k) { return actions + (elites ? elites[k] : k) * size; };
  for (int64_t k = 0; k < topk; ++k) {
    const float* action = row(k);
    const double weight = rule.weights ? rule.weights[k] : 1.0;
    for (int64_t a = 0; a < count; ++a) mean[a] += weight * action[a];
  }
  const double whole = rule.weights ? 1.0 : static_cast<double>(topk);
  for (int64_t a = 0; a < count; ++a) mean[a] /= whole;
  for (int64_t k = 0; k < topk; ++k) {
    const float* action = row(k);
    const double weight = rule.weights ? rule.weights[k] : 1.0;
    for (int64_t a = 0; a < count; ++a) {
      const double error = action[a] - mean[a];
      sum[a] += weight * (population ? error * error : std::abs(error));
    }
  }
  for (int64_t a = 0; a < count; ++a) {
    blend(rule.momentum, mean[a], mean_out[a]);
    blend(rule.momentum,
          population ? std::sqrt(sum[a] / whole + rule.epsilon)
                     : sum[a] / static_cast<double>(topk - 1),
          stddev_out[a]);
  }
}

void refit_worker(void* context, int) {
  Work& work = *static_cast<Work*>(context);
  const RefitProblem& p = work.problem;
  for (int64_t b; (b = work.next.fetch_add(1)) < p.batch;) {
    const float* returns = p.returns + b * p.candidates;
    int64_t* elites = p.elites + b * p.topk;
    select_elites(returns, p.candidates, p.topk, work.keys + b * p.candidates, elites);
    p.best[b] = returns[elites[0]];
    FitRule rule{p.topk, p.spread, p.epsilon, 0.0, nullptr};
    if (p.temperature > 0.0) {
      auto* weights = reinterpret_cast<double*>(work.keys + b * p.candidates);  // free by now
      weigh_elites(returns, elites, p.topk, p.temperature, weights);
      rule.weights = weights;
    }
    for (int64_t t = 0; t < p.horizon; ++t) {
      const int64_t row = t * p.batch + b, out = row * p.action_size;
      fit_elites(rule, p.actions + row * p.candidates * p.action_size, p.action_size, elites,
                 p.mean + out, p.stddev + out);
    }
  }
}

}  // namespace

// Selects topk keys, then sorts those.
void select_elites(const float* returns, int64_t candidates, int64_t topk, uint64_t* keys,
                   int64_t* elites) {
  for (int64_t j = 0; j < candidates; ++j) {
    uint32_t bits;
    std::memcpy(&bits, returns + j, sizeof bits);
    keys[j] = rank_key(bits, static_cast<uint32_t>(j));
  }
  std::nth_element(keys, keys + topk - 1, keys + candidates);
  std::sort(keys, keys + topk);
  for (int64_t k = 0; k < topk; ++k) elites[k] = rank_index(keys[k]);
}

void weigh_elites(const float* returns, const int64_t* elites, int64_t topk, double temperature,
                  double* weights) {
  const double largest = returns[elites[0]];
  double sum = 0.0;
  for (int64_t k = 0; k < topk; ++k) {
    const double value = returns[elites[k]];
    double weight = 1.0;  // without any return
    if (std::isinf(largest)) {
      weight = value == largest ? 1.0 : 0.0;
    } else if (!std::isnan(largest)) {
      weight = std::isnan(value) ? 0.0 : std::exp((value - largest) / temperature);
    }
    weights[k] = weight;
    sum += weight;
  }
  for (int64_t k = 0; k < topk; ++k) weights[k] /= sum;
}

void fit_elites(const FitRule& rule, const float* actions, int64_t size, const int64_t* elites,
                float* mean, float* stddev) {
  for (int64_t first = 0; first < size; first += kBlock) {
    fit_block(rule, actions + first, size, std::min(kBlock, size - first), elites, mean + first,
              stddev + first);
  }
}

void refit(const RefitProblem& problem, uint64_t* keys, const Parallel& parallel) {
  Work work{problem, keys, {0}};
  const int workers = static_cast<int>(std::min<int64_t>(parallel.workers, problem.batch));
  parallel.run(parallel.pool, workers, refit_worker, &work);
}

}  // namespace planet::cpu
