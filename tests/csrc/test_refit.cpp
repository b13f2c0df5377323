// The refit against a sort of everything.
#include <algorithm>
#include <cmath>
#include <limits>

#include "calls.h"
#include "harness.h"
#include "oracle.h"
#include "pools.h"

namespace planet::tests {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Sums in float64 in rank order, rounded once: equal bit for bit, NaN as NaN.
FitResult oracle_refit(const Fit& f) {
  FitResult out;
  const auto action = [&](int64_t t, int64_t b, int64_t j, int64_t a) {
    return f
        .actions[static_cast<size_t>(((t * f.batch + b) * f.candidates + j) * f.action_size + a)];
  };
  for (int64_t b = 0; b < f.batch; ++b) {
    const float* returns = f.returns.data() + b * f.candidates;
    const std::vector<int64_t> elites = oracle_elites(returns, f.candidates, f.topk);
    out.elites.insert(out.elites.end(), elites.begin(), elites.end());
    out.best.push_back(returns[elites[0]]);
  }
  for (int64_t t = 0; t < f.horizon; ++t) {
    for (int64_t b = 0; b < f.batch; ++b) {
      const std::vector<int64_t> elites(out.elites.begin() + b * f.topk,
                                        out.elites.begin() + (b + 1) * f.topk);
      const auto weights =
          oracle_weights(f.returns.data() + b * f.candidates, elites, f.temperature);
      for (int64_t a = 0; a < f.action_size; ++a) {
        std::vector<float> chosen;
        for (const int64_t j : elites) chosen.push_back(action(t, b, j, a));
        const Fitted fitted = oracle_fit(chosen, weights, f.spread, f.epsilon);
        out.mean.push_back(static_cast<float>(fitted.mean));
        out.stddev.push_back(static_cast<float>(fitted.stddev));
      }
    }
  }
  return out;
}

void check(const Fit& fit) {
  const Scope scope("B ", fit.batch, ", J ", fit.candidates, ", K ", fit.topk, ", A ",
                    fit.action_size);
  const FitResult expected = oracle_refit(fit);
  for (const int workers : {1, 2, 3, 7}) {
    const Scope scope_of_workers("workers ", workers);
    CHECK(run_refit(fit, serial(workers)) == expected);
  }
  CHECK(run_refit(fit, threads(3)) == expected);
}

}  // namespace

TEST("refit equals a sort of all candidates") {
  Random random(options().seed + 20);
  for (const int64_t candidates : {1, 2, 3, 7, 16, 63, 64, 65, 200, 1000}) {
    for (const int64_t topk :
         {int64_t{1}, int64_t{2}, candidates / 10, candidates - 1, candidates}) {
      if (topk < 1 || topk > candidates) continue;
      check(random_fit(random, 3, 1 + candidates % 3, candidates, topk, 1 + topk % 5));
    }
  }
  check(random_fit(random, 2, 2, 100, 10, 64));
  check(random_fit(random, 2, 2, 100, 10, 65));
  check(random_fit(random, 1, 1, 9, 3, 512));
}

TEST("refit ranks ties by the lower index") {
  Random random(options().seed + 21);
  for (int trial = 0; trial < (options().quick ? 40 : 400); ++trial) {
    const int64_t candidates = random.integer(1, 120);
    Fit fit = random_fit(random, 1, 2, candidates, random.integer(1, candidates), 2);
    const float values[] = {0.0f, -0.0f, 1.5f, -2.0f};
    for (float& x : fit.returns) x = values[random.integer(0, 3)];
    check(fit);
  }
}

TEST("refit ranks infinities by value and NaN last, whatever its sign and payload") {
  Random random(options().seed + 22);
  const uint32_t nan_bits[] = {0x7FC00000u, 0xFFC00000u, 0x7F800001u, 0xFFFFFFFFu};
  for (int trial = 0; trial < (options().quick ? 40 : 400); ++trial) {
    const int64_t candidates = random.integer(1, 90);
    Fit fit = random_fit(random, 2, 1, candidates, random.integer(1, candidates), 1);
    const int share = trial % 4;  // 0: none is NaN; 3: many
    for (float& x : fit.returns) {
      const int64_t pick = random.integer(0, 9);
      if (pick < share * 2) memcpy(&x, &nan_bits[random.integer(0, 3)], sizeof x);
      if (pick == 6) x = kInfinity;
      if (pick == 7) x = -kInfinity;
      if (pick == 8) x = random.next() % 2 ? 0.0f : -0.0f;
      if (pick == 9) x = std::numeric_limits<float>::denorm_min();
    }
    check(fit);
  }
}

TEST("refit of returns that are all NaN takes the lowest indices") {
  Random random(options().seed + 23);
  Fit fit = random_fit(random, 2, 2, 33, 5, 3);
  std::fill(fit.returns.begin(), fit.returns.end(), NAN);
  const FitResult got = run_refit(fit, serial(1));
  for (int64_t k = 0; k < 10; ++k) CHECK_EQUAL(got.elites[static_cast<size_t>(k)], k % 5);
  CHECK(std::isnan(got.best[0]) && std::isnan(got.best[1]));
  check(fit);
}

TEST("refit of equal actions has the spread that epsilon leaves") {
  Random random(options().seed + 24);
  Fit fit = random_fit(random, 1, 1, 8, 3, 1);
  std::fill(fit.actions.begin(), fit.actions.end(), 0.25f);
  fit.spread = Spread::kPopulation;
  fit.epsilon = 0.0;
  CHECK_EQUAL(run_refit(fit, serial(1)).stddev[0], 0.0f);
  fit.epsilon = 0.25;
  CHECK_EQUAL(run_refit(fit, serial(1)).stddev[0], 0.5f);
  fit.spread = Spread::kMeanAbsolute;
  CHECK_EQUAL(run_refit(fit, serial(1)).stddev[0], 0.0f);
  CHECK_EQUAL(run_refit(fit, serial(1)).mean[0], 0.25f);
}

TEST("refit of sorted, reversed and organ-pipe returns equals a sort of all") {
  Random random(options().seed + 25);
  for (const int order : {0, 1, 2}) {
    Fit fit = random_fit(random, 1, 1, 777, 77, 1);
    for (int64_t j = 0; j < 777; ++j) {
      const int64_t value = order == 0 ? j : order == 1 ? -j : std::min(j, 777 - j);
      fit.returns[static_cast<size_t>(j)] = static_cast<float>(value);
    }
    check(fit);
  }
}

TEST("refit weighs elites by their returns") {
  Random random(options().seed + 26);
  const float odd[] = {NAN, kInfinity, -kInfinity, 0.0f};
  for (int trial = 0; trial < (options().quick ? 40 : 400); ++trial) {
    const int64_t candidates = random.integer(1, 90);
    Fit fit = random_fit(random, 2, 2, candidates, random.integer(1, candidates), 3);
    fit.spread = Spread::kPopulation;
    fit.temperature = std::pow(10.0, random.uniform(-3.0, 3.0));
    for (float& x : fit.returns) {  // trial % 4 = 0: all are finite
      if (random.integer(0, 3) < trial % 4) x = odd[random.integer(0, 3)];
    }
    check(fit);
  }
}

}  // namespace planet::tests
