// The cross-entropy method against a loop made of the other operations, and how it ends.
#include <cmath>
#include <thread>

#include "calls.h"
#include "harness.h"
#include "normals.h"
#include "philox.h"
#include "pools.h"

namespace planet::tests {
namespace {

const Shape kShapes[] = {{15, 4, 3, 12, {9, 1}, false}, {0, 5, 2, 11, {6, 5, 1}, true, true}};

// clip(mean + stddev * normal, low, high), rounded to float32 after each step.
std::vector<float> draw(cpu::Isa isa, const ModelSizes& sizes, const Plan& p, int64_t iteration) {
  const int a = sizes.action;
  std::vector<float> actions(static_cast<size_t>(p.horizon * p.batch * p.candidates * a));
  for (int64_t i = 0; i < p.horizon * p.batch; ++i) {
    const int64_t b = i % p.batch;
    float* block = actions.data() + i * p.candidates * a;
    const NormalsCounter counter{kStreamActions, static_cast<uint32_t>(i / p.batch),
                                 static_cast<uint32_t>(iteration), 0};
    cpu::normals(isa, p.seeds[static_cast<size_t>(b)], counter, p.candidates, a, block);
    for (int64_t k = 0; k < p.candidates * a; ++k) {
      const size_t of_mean = static_cast<size_t>(i * a + k % a);
      const size_t of_bound = static_cast<size_t>(b * a + k % a);
      const float x = p.mean[of_mean] + p.stddev[of_mean] * block[k];
      block[k] = std::fmin(std::fmax(x, p.low[of_bound]), p.high[of_bound]);
    }
  }
  return actions;
}

// cem_plan, made of normals, rollout_returns and refit.
PlanResult loop(const cpu::Model& model, Plan plan, Random& random) {
  std::vector<float> best;
  for (int64_t i = 0; i < plan.iterations; ++i) {
    const int64_t iteration = plan.first_iteration + i;
    Rollout rollout(model.sizes, plan.horizon, plan.batch, plan.candidates,
                    plan.state_noise ? NoiseKind::kSeeds : NoiseKind::kNone, plan.per_candidate,
                    plan.discount, random);
    rollout.belief = plan.belief;
    rollout.state = plan.state;
    rollout.seeds = plan.seeds;
    rollout.iteration = static_cast<uint32_t>(iteration);
    rollout.particle = 0;
    rollout.actions = draw(model.isa, model.sizes, plan, iteration);
    const std::vector<float> returns = run_rollout(model, rollout, serial(1));
    const FitResult fit =
        run_refit({plan.horizon, plan.batch, plan.candidates, plan.topk, model.sizes.action,
                   plan.spread, plan.epsilon, rollout.actions, returns},
                  serial(1));
    plan.mean = fit.mean;
    plan.stddev = fit.stddev;
    best = fit.best;
  }
  const auto action_end = plan.mean.begin() + static_cast<int64_t>(plan.low.size());
  return {plan.iterations, plan.mean, plan.stddev, best, {plan.mean.begin(), action_end}, {}};
}

template <class Body>
void for_each_model(uint64_t seed, Body body) {
  Random random(options().seed + seed);
  for (const Shape& shape : kShapes) {
    const RandomModel model(shape, random);
    for (const Kernels& kernels : all_kernels()) {
      const Scope scope(kernels.name(), ", ", shape.name());
      body(PackedModel(model, kernels).model, random);
    }
  }
}

bool count_down(void* left) {
  return --*static_cast<int*>(left) <= 0;
}

}  // namespace

TEST("a plan equals a loop of draw, rollout and refit, bit for bit") {
  for_each_model(30, [](const cpu::Model& model, Random& random) {
    for (int trial = 0; trial < 6; ++trial) {
      const Plan plan = Plan::random(model.sizes, random, trial);
      const Scope scope("H ", plan.horizon, ", B ", plan.batch, ", J ", plan.candidates, ", K ",
                        plan.topk);
      const PlanResult expected = loop(model, plan, random);
      for (const int workers : {1, 2, 3, 7}) {
        CHECK(run_plan(model, plan, serial(workers)) == expected);
      }
      CHECK(run_plan(model, plan, threads(3)) == expected);
    }
  });
}

TEST("three iterations equal one and one and one") {
  for_each_model(31, [](const cpu::Model& model, Random& random) {
    for (const int kind : {0, 2, 4, 24, 63}) {
      const Scope scope("kind ", kind);
      Plan plan(model.sizes, 4, 2, 50, 7, random);
      plan.first_iteration = 5;
      plan.relate(model.sizes, random, kind);
      check_iterations_add_up(plan, [&](const Plan& p) { return run_plan(model, p, serial(1)); });
    }
  });
}

TEST("a problem alone is planned as in a batch") {
  for_each_model(32, [](const cpu::Model& model, Random& random) {
    for (const int kind : {0, 63}) {
      Plan plan(model.sizes, 3, 3, 40, 6, random);
      plan.relate(model.sizes, random, kind);
      check_problems_are_alone(plan, model.sizes,
                               [&](const Plan& p) { return run_plan(model, p, threads(2)); });
    }
  });
}

TEST("a budget of nothing runs one iteration, without limit it runs all") {
  for_each_model(33, [](const cpu::Model& model, Random& random) {
    Plan plan(model.sizes, 3, 1, 30, 5, random);
    plan.iterations = 4;
    const PlanResult all = run_plan(model, plan, serial(1));
    CHECK_EQUAL(all.iterations, int64_t{4});
    plan.budget_ms = 1e12;
    CHECK(run_plan(model, plan, serial(1)) == all);
    plan.budget_ms = 0.0;
    const PlanResult one = run_plan(model, plan, serial(1));
    CHECK_EQUAL(one.iterations, int64_t{1});
    plan.budget_ms = INFINITY;
    plan.iterations = 1;
    CHECK(run_plan(model, plan, serial(1)) == one);
  });
}

TEST("a plan can be stopped between iterations, and gives the last finished one") {
  for_each_model(34, [](const cpu::Model& model, Random& random) {
    Plan plan(model.sizes, 3, 1, 30, 5, random);
    for (int after = 1; after <= 3; ++after) {
      const Scope scope("stop after ", after);
      int left = after;
      plan.iterations = 5;
      plan.stop = count_down;
      plan.stop_context = &left;
      const PlanResult stopped = run_plan(model, plan, threads(2));
      CHECK_EQUAL(stopped.iterations, int64_t{after});
      CHECK_EQUAL(left, 0);
      plan.stop = nullptr;
      plan.iterations = after;
      CHECK(run_plan(model, plan, serial(1)) == stopped);
    }
  });
}

TEST("the question whether to stop is asked on the calling thread") {
  struct Asked {
    std::thread::id thread = std::this_thread::get_id();
    int elsewhere = 0, times = 0;
  };
  for_each_model(35, [](const cpu::Model& model, Random& random) {
    Plan plan(model.sizes, 2, 2, 20, 5, random);
    Asked asked;
    plan.iterations = 6;
    plan.stop_context = &asked;
    plan.stop = [](void* context) {
      Asked& a = *static_cast<Asked*>(context);
      if (std::this_thread::get_id() != a.thread) ++a.elsewhere;
      ++a.times;
      return false;
    };
    CHECK_EQUAL(run_plan(model, plan, threads(3)).iterations, int64_t{6});
    CHECK_EQUAL(asked.elsewhere, 0);
    CHECK_EQUAL(asked.times, 5);
  });
}

TEST("a workspace that would overflow is refused") {
  Random random(options().seed + 36);
  const RandomModel model(kShapes[0], random);
  const PackedModel packed(model, {0, Precision::kFloat32});
  CHECK_EQUAL(cpu::plan_workspace(packed.model, too_large_problem(), 1), int64_t{-1});
}

}  // namespace planet::tests
