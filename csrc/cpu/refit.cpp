// Selects the elites and fits mean and spread to them.
#include "../refit.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "../model.h"
#include "../order.h"

namespace planet::cpu {
namespace {

constexpr int64_t kBlock = 64;  // features that are summed at a time

struct Work {
  const RefitProblem& problem;
  uint64_t* keys;
  std::atomic<int64_t> next;
};

// elites, best of problem b: select K keys, then sort those.
void select_elites(const RefitProblem& p, int64_t b, uint64_t* keys) {
  const float* returns = p.returns + b * p.candidates;
  for (int64_t j = 0; j < p.candidates; ++j) {
    uint32_t bits;
    std::memcpy(&bits, returns + j, sizeof bits);
    keys[j] = rank_key(bits, static_cast<uint32_t>(j));
  }
  std::nth_element(keys, keys + p.topk - 1, keys + p.candidates);
  std::sort(keys, keys + p.topk);
  int64_t* elites = p.elites + b * p.topk;
  for (int64_t k = 0; k < p.topk; ++k) elites[k] = rank_index(keys[k]);
  p.best[b] = returns[elites[0]];
}

// Mean and stddev of features [first, first + count) at one time of problem b.
void fit_block(const RefitProblem& p, int64_t t, int64_t b, int64_t first, int64_t count) {
  const int64_t* elites = p.elites + b * p.topk;
  const int64_t row = t * p.batch + b;
  const float* actions = p.actions + row * p.candidates * p.action_size + first;
  double mean[kBlock] = {}, spread[kBlock] = {};
  for (int64_t k = 0; k < p.topk; ++k) {
    const float* action = actions + elites[k] * p.action_size;
    for (int64_t a = 0; a < count; ++a) mean[a] += action[a];
  }
  for (int64_t a = 0; a < count; ++a) mean[a] /= static_cast<double>(p.topk);
  for (int64_t k = 0; k < p.topk; ++k) {
    const float* action = actions + elites[k] * p.action_size;
    for (int64_t a = 0; a < count; ++a) {
      const double error = action[a] - mean[a];
      spread[a] += p.spread == Spread::kPopulation ? error * error : std::abs(error);
    }
  }
  const int64_t out = row * p.action_size + first;
  for (int64_t a = 0; a < count; ++a) {
    p.mean[out + a] = static_cast<float>(mean[a]);
    p.stddev[out + a] =
        static_cast<float>(p.spread == Spread::kPopulation
                               ? std::sqrt(spread[a] / static_cast<double>(p.topk) + p.epsilon)
                               : spread[a] / static_cast<double>(p.topk - 1));
  }
}

void refit_worker(void* context, int) {
  Work& work = *static_cast<Work*>(context);
  const RefitProblem& p = work.problem;
  for (int64_t b; (b = work.next.fetch_add(1)) < p.batch;) {
    select_elites(p, b, work.keys + b * p.candidates);
    for (int64_t t = 0; t < p.horizon; ++t) {
      for (int64_t first = 0; first < p.action_size; first += kBlock) {
        fit_block(p, t, b, first, std::min(kBlock, p.action_size - first));
      }
    }
  }
}

}  // namespace

void refit(const RefitProblem& problem, uint64_t* keys, const Parallel& parallel) {
  Work work{problem, keys, {0}};
  const int workers = static_cast<int>(std::min<int64_t>(parallel.workers, problem.batch));
  parallel.run(parallel.pool, workers, refit_worker, &work);
}

}  // namespace planet::cpu
