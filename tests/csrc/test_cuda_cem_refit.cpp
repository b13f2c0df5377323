// A plan's refit, which draws the elites' actions again, against drawing all actions and the CPU's
// refit of them.
#include <algorithm>
#include <cmath>

#include "cuda/cem_refit.h"
#include "cuda_plans.h"
#include "emulator.h"
#include "harness.h"
#include "normals.h"
#include "philox.h"
#include "pools.h"

namespace planet::tests {
namespace {

// A plan's distribution and the returns of its candidates.
struct Case {
  int64_t action_size;
  Plan plan;
  std::vector<float> returns;
};

Case random_case(Random& random, int64_t horizon, int64_t batch, int64_t candidates, int64_t topk,
                 int64_t action_size) {
  ModelSizes sizes{};
  sizes.action = static_cast<int>(action_size);
  Plan plan(sizes, horizon, batch, candidates, topk, random);
  const int64_t bounds = batch * action_size, values = horizon * bounds;
  plan.first_iteration = random.integer(0, 65535);
  if (topk > 1 && random.next() % 2) plan.spread = Spread::kMeanAbsolute;
  plan.mean = random.uniforms(values, -0.5, 0.5);
  plan.stddev = random.uniforms(values, 0.05, 1.0);
  plan.low = random.uniforms(bounds, -1.5, -0.5);
  plan.high = random.uniforms(bounds, 0.2, 1.5);
  return {action_size, plan, random.normals(batch * candidates)};
}

bool is_plain(const Plan& p) {
  return p.keep == 0 && p.momentum == 0.0 && p.temperature == 0.0 && p.output == Output::kMean;
}

PlanResult run(const Case& c) {
  PlanCall call(c.plan);
  const PlanProblem& p = call.problem;
  std::vector<float> given;
  std::vector<uint32_t> open;
  if (p.keep > 0) given = drawn_actions(c.plan, c.action_size);
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t e = 0; e < p.keep; ++e) {
      const int64_t first = (b * (p.candidates + p.keep) + p.candidates + e) * c.action_size;
      open.push_back(std::isnan(given[static_cast<size_t>(first)]));
    }
  }
  Fenced<float> returns(c.returns), values(given);
  Fenced<uint32_t> none(open);
  const cuda::PlanFitExtras extras{p.momentum, p.temperature, p.output,
                                   p.keep,     none.data(),   p.kept};
  const cuda::PlanFitExtras* more = is_plain(c.plan) ? nullptr : &extras;
  const double bytes = cuda::plan_refit_workspace(p.horizon * c.action_size, p.batch, p.topk, more);
  Fenced<unsigned char> workspace(static_cast<int64_t>(bytes), 4);
  cuda::PlanFit fit{};
  fit.horizon = p.horizon;
  fit.batch = p.batch;
  fit.candidates = p.candidates + p.keep;
  fit.topk = p.topk;
  fit.action_size = c.action_size;
  fit.actions = {p.keep > 0 ? values.data() : nullptr,    p.mean, p.stddev, p.low, p.high, p.seeds,
                 static_cast<uint32_t>(p.first_iteration)};
  fit.returns = returns.data();
  fit.spread = p.spread;
  fit.epsilon = p.epsilon;
  fit.mean = p.mean;  // in place, as a plan does
  fit.stddev = p.stddev;
  fit.best_return = p.best_return;
  fit.action = p.action;
  const char* error = cuda::launch_plan_refit(fit, more, workspace.data(), nullptr);
  if (error != nullptr) report_failure(__FILE__, __LINE__, error);
  CHECK(returns.equals(c.returns) && values.equals(given) && none.equals(open));
  return call.result(1);
}

void check(const Case& c) {
  const Plan& p = c.plan;
  const Scope scope("H ", p.horizon, ", B ", p.batch, ", J ", p.candidates, ", K ", p.topk, ", A ",
                    c.action_size, ", E ", p.keep);
  check_refitted(run(c), refitted(p, c.action_size, drawn_actions(p, c.action_size), c.returns), p);
}

// With kept sequences, momentum, temperature and the best's action, as the bits of `kind` say.
void relate(Case& c, Random& random, int kind) {
  ModelSizes sizes{};
  sizes.action = static_cast<int>(c.action_size);
  c.plan.relate(sizes, random, kind);
  c.returns = random.normals(c.plan.batch * (c.plan.candidates + c.plan.keep));
}

// Kinds of Plan::relate but for mix and counts.
constexpr int kKinds[] = {2, 8, 16, 24, 32, 34, 48, 56, 58};

void spoil(std::vector<float>& returns, Random& random, int trial) {
  const float values[] = {0.0f, -0.0f, 1.5f, -2.0f, INFINITY, -INFINITY, NAN, -NAN, 1e-45f};
  for (float& x : returns) {
    if (random.integer(0, 9) < trial % 11) x = values[random.integer(0, 8)];
  }
}

}  // namespace

TEST("CUDA: a plan's refit equals drawing all actions and fitting the elites") {
  Random random(options().seed + 150);
  for (const int64_t candidates : {1, 2, 31, 32, 33, 100, 1000, 1001, 5000}) {
    for (const int64_t topk :
         {int64_t{1}, int64_t{2}, candidates / 10, candidates - 1, candidates}) {
      if (topk < 1 || topk > candidates) continue;
      const int64_t batch = candidates > 1000 ? 1 : 1 + candidates % 3;
      check(random_case(random, 1 + topk % 3, batch, candidates, topk, 1 + topk % 4));
    }
  }
  check(random_case(random, 12, 1, 1000, 100, 6));
  check(random_case(random, 2, 64, 30, 5, 3));
  check(random_case(random, 3, 2, 40, 6, 38));
}

TEST("CUDA: a plan's refit draws actions twice and lists elites in the workspace where it must") {
  Random random(options().seed + 151);
  CHECK_EQUAL(cuda::plan_refit_workspace(4, 2, 4096, nullptr), 0.0);
  CHECK_EQUAL(cuda::plan_refit_workspace(4, 2, 4097, nullptr), 2.0 * 2.0 * 4097.0 * 4.0);
  cuda::PlanFitExtras extras{};
  CHECK_EQUAL(cuda::plan_refit_workspace(4, 2, 4097, &extras), 2.0 * 2.0 * 4098.0 * 4.0);
  extras.keep = 5;
  CHECK_EQUAL(cuda::plan_refit_workspace(4, 2, 4097, &extras), 2.0 * 2.0 * 4102.0 * 4.0);
  for (const int64_t topk : {1024, 1025, 1500, 4096, 4097, 4999}) {
    check(random_case(random, 1, 2, 5000, topk, 3));
  }
}

TEST("CUDA: a plan's refit of a problem does not depend on the batch") {
  Random random(options().seed + 152);
  // 1030 problems: one block each, and some loop; alone it is shared by many blocks.
  const int64_t batch = 1030;
  const Case all = random_case(random, 2, batch, 9, 3, 3);
  const PlanResult got = run(all);
  ModelSizes sizes{};
  sizes.action = 3;
  for (const int64_t b : {int64_t{0}, int64_t{5}, int64_t{1023}, int64_t{1024}, int64_t{1029}}) {
    const Scope scope("problem ", b);
    const Case one{3, problem_of(all.plan, sizes, b), middle(all.returns, 1, batch, 9, b, 1)};
    CHECK(run(one) == problem_of(got, all.plan, sizes, b));
  }
}

TEST("CUDA: a plan's refit ranks ties, infinities and NaN as the CPU does") {
  Random random(options().seed + 153);
  for (int trial = 0; trial < (options().quick ? 20 : 120); ++trial) {
    const int64_t candidates = random.integer(1, 200);
    Case c = random_case(random, 2, 2, candidates, random.integer(1, candidates), 2);
    if (trial % 2 == 1) relate(c, random, kKinds[trial / 2 % 9]);
    spoil(c.returns, random, trial);
    check(c);
  }
}

TEST("CUDA: a plan's refit blends, weighs and keeps as the CPU does") {
  Random random(options().seed + 156);
  for (const int kind : kKinds) {
    const Scope scope("kind ", kind);
    for (const int64_t candidates : {1, 33, 500}) {
      for (const int64_t topk : {int64_t{1}, (candidates + 9) / 10, candidates}) {
        Case c = random_case(random, 1 + topk % 3, 2, candidates, topk, 1 + topk % 4);
        relate(c, random, kind);
        check(c);
      }
    }
  }
  Case c = random_case(random, 1, 1, 4200, 4097, 1);
  relate(c, random, 58);
  check(c);
}

TEST("CUDA: a plan's refit of returns that are all NaN has NaN as its best return") {
  Random random(options().seed + 154);
  Case c = random_case(random, 2, 1, 50, 5, 2);
  std::fill(c.returns.begin(), c.returns.end(), NAN);
  CHECK(std::isnan(run(c).best[0]));
  check(c);
  c.returns[40] = -INFINITY;
  CHECK_EQUAL(run(c).best[0], -INFINITY);
  check(c);
}

TEST("CUDA: a plan's refit does not depend on the order in which threads run") {
  Random random(options().seed + 155);
  for (const int kind : {0, 58}) {
    Case c = random_case(random, 3, 2, 500, 60, 3);
    relate(c, random, kind);
    const PlanResult once = run(c);
    for (uint64_t seed = 1; seed <= (options().quick ? 3 : 20); ++seed) {
      const cuda::emulator::JitterScope jitter(seed);
      CHECK(run(c) == once);
    }
  }
}

}  // namespace planet::tests
