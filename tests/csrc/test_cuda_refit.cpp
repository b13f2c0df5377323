// The refit of the device against the CPU's, which test_refit.cpp holds to a sort of everything.
#include <algorithm>
#include <cmath>

#include "calls.h"
#include "emulator.h"
#include "harness.h"
#include "pools.h"

namespace planet::tests {
namespace {

FitResult run_cuda_refit(const Fit& f) {
  const int64_t outputs = f.horizon * f.batch * f.action_size;
  Fenced<float> actions(f.actions), returns(f.returns);
  Fenced<float> mean(outputs), stddev(outputs), best(f.batch);
  Fenced<int64_t> elites(f.batch * f.topk);
  Fenced<unsigned char> workspace(cuda::refit_workspace(f.batch, f.topk), 8);
  const char* error = cuda::refit(
      {f.horizon, f.batch, f.candidates, f.topk, f.action_size, actions.data(), returns.data(),
       f.spread, f.epsilon, f.temperature, mean.data(), stddev.data(), elites.data(), best.data()},
      workspace.data(), nullptr);
  if (error != nullptr) report_failure(__FILE__, __LINE__, error);
  CHECK(actions.equals(f.actions) && returns.equals(f.returns));
  return {mean.values(), stddev.values(), elites.values(), best.values()};
}

// Sums in rank order in double precision on both: the same bits.
void check(const Fit& fit) {
  const Scope scope("H ", fit.horizon, ", B ", fit.batch, ", J ", fit.candidates, ", K ", fit.topk,
                    ", A ", fit.action_size);
  CHECK(run_cuda_refit(fit) == run_refit(fit, serial(1)));
}

// Ties and values that are not finite.
void spoil(Random& random, std::vector<float>& returns, int share) {
  const float values[] = {0.0f, -0.0f, 1.5f, -2.0f, INFINITY, -INFINITY, NAN, -NAN, 1e-45f};
  for (float& x : returns) {
    if (random.integer(0, 9) < share) x = values[random.integer(0, 8)];
  }
}

}  // namespace

TEST("CUDA: refit equals the CPU's bit for bit") {
  Random random(options().seed + 130);
  for (const int64_t candidates : {1, 2, 31, 32, 33, 100, 1000, 1001, 5000}) {
    for (const int64_t topk :
         {int64_t{1}, int64_t{2}, candidates / 10, candidates - 1, candidates}) {
      if (topk < 1 || topk > candidates) continue;
      check(random_fit(random, 2, 1 + candidates % 3, candidates, topk, 1 + topk % 5));
    }
  }
  check(random_fit(random, 3, 64, 40, 7, 2));
  check(random_fit(random, 12, 1, 1000, 100, 6));
}

TEST("CUDA: refit loops over more problems than there are blocks") {
  Random random(options().seed + 131);
  check(random_fit(random, 1, 1030, 5, 2, 1));
}

TEST("CUDA: refit sorts elites that do not fit shared memory") {
  Random random(options().seed + 132);
  CHECK_EQUAL(cuda::refit_workspace(3, 4096), int64_t{0});
  CHECK_EQUAL(cuda::refit_workspace(3, 4097), int64_t{3 * 8192 * 8});
  for (const int64_t topk : {4096, 4097, 5000}) {
    Fit fit = random_fit(random, 1, 2, 5000, topk, 1);
    spoil(random, fit.returns, 4);
    check(fit);
  }
}

TEST("CUDA: refit ranks ties by the lower index, infinities by value and NaN last") {
  Random random(options().seed + 133);
  for (int trial = 0; trial < (options().quick ? 20 : 200); ++trial) {
    const int64_t candidates = random.integer(1, 150);
    Fit fit = random_fit(random, 1, 2, candidates, random.integer(1, candidates), 2);
    spoil(random, fit.returns, trial % 11);
    check(fit);
  }
}

TEST("CUDA: refit of returns that are all NaN, or of equal actions, equals the CPU's") {
  Random random(options().seed + 134);
  Fit fit = random_fit(random, 2, 2, 33, 5, 3);
  std::fill(fit.returns.begin(), fit.returns.end(), NAN);
  check(fit);
  std::fill(fit.actions.begin(), fit.actions.end(), 0.25f);
  for (const Spread spread : {Spread::kPopulation, Spread::kMeanAbsolute}) {
    fit.spread = spread;
    check(fit);
  }
}

TEST("CUDA: refit with a temperature equals the CPU's") {
  Random random(options().seed + 137);
  for (int trial = 0; trial < (options().quick ? 20 : 200); ++trial) {
    const int64_t candidates = random.integer(1, 150);
    Fit fit = random_fit(random, 2, 2, candidates, random.integer(1, candidates), 2);
    fit.spread = Spread::kPopulation;
    fit.temperature = random.uniforms(1, 0.01, 3.0)[0];
    spoil(random, fit.returns, trial % 11);
    check(fit);
  }
}

TEST("CUDA: refit gives infinite returns all the weight, NaN none, and all alike if all are NaN") {
  const auto mean = [](std::vector<float> returns) {
    Fit fit{1, 1, 4, 4, 1, Spread::kPopulation, 0.0, {1.0f, 2.0f, 4.0f, 8.0f}, std::move(returns)};
    fit.temperature = 0.5;
    const FitResult got = run_cuda_refit(fit);
    CHECK(got == run_refit(fit, serial(1)));
    return got.mean[0];
  };
  CHECK_EQUAL(mean({NAN, NAN, NAN, NAN}), 3.75f);
  CHECK_EQUAL(mean({NAN, 3.0f, NAN, 3.0f}), 5.0f);
  CHECK_EQUAL(mean({INFINITY, 3.0f, NAN, INFINITY}), 4.5f);
  CHECK_EQUAL(mean({-INFINITY, NAN, -INFINITY, NAN}), 2.5f);
  CHECK_EQUAL(mean({-INFINITY, 1.0f, -INFINITY, NAN}), 2.0f);
}

TEST("CUDA: refit does not depend on the order in which threads run") {
  Random random(options().seed + 136);
  for (uint64_t seed = 1; seed <= (options().quick ? 2 : 12); ++seed) {
    const cuda::emulator::JitterScope jitter(seed);
    const int64_t candidates = random.integer(1, 300);
    Fit fit = random_fit(random, 2, 2, candidates, random.integer(1, candidates), 2);
    spoil(random, fit.returns, static_cast<int>(seed % 11));
    check(fit);
  }
}

}  // namespace planet::tests
