// The cross-entropy method against a loop made of the other operations, and how it ends.
#include <cmath>
#include <thread>

#include "calls.h"
#include "harness.h"
#include "normals.h"
#include "oracle.h"
#include "philox.h"
#include "pools.h"

namespace planet::tests {
namespace {

const Shape kShapes[] = {{15, 4, 3, 12, {9, 1}, false}, {0, 5, 2, 11, {6, 5, 1}, true, true}};

// Normals [H, count, A] of problem b from candidate 0 on.
std::vector<float> normals_of(cpu::Isa isa, const ModelSizes& sizes, const Plan& p, int64_t b,
                              int64_t iteration, int64_t count) {
  std::vector<float> out(static_cast<size_t>(p.horizon * count * sizes.action));
  for (int64_t t = 0; t < p.horizon; ++t) {
    const NormalsCounter counter{kStreamActions, static_cast<uint32_t>(t),
                                 static_cast<uint32_t>(iteration), 0};
    cpu::normals(isa, p.seeds[static_cast<size_t>(b)], counter, count, sizes.action,
                 out.data() + t * count * sizes.action);
  }
  return out;
}

// Mixes normals [H, width] along time, in the order of the times, rounded to float32 after each
// product and sum, or after both together.
std::vector<float> mixed(const Plan& p, const std::vector<float>& normals, bool fused) {
  if (p.mix.empty()) return normals;
  std::vector<float> out(normals.size(), 0.0f);
  const size_t steps = static_cast<size_t>(p.horizon), width = normals.size() / steps;
  for (size_t i = 0; i < normals.size(); ++i) {
    for (size_t u = 0; u < steps; ++u) {
      const float weight = p.mix[i / width * steps + u], normal = normals[u * width + i % width];
      volatile float product = weight * normal;  // no compiler joins what follows
      out[i] = fused ? std::fma(weight, normal, out[i]) : product + out[i];
    }
  }
  return out;
}

// One iteration's actions [H, B, J + E, A], and which candidates are none, [B, J + E].
struct Candidates {
  int64_t count;
  std::vector<float> actions;
  std::vector<bool> none;
};

// clip(mean + stddev * normal, low, high), rounded to float32 after each step.
Candidates draw(cpu::Isa isa, const ModelSizes& sizes, const Plan& p, int64_t drawn, bool fused) {
  const int64_t a = sizes.action, count = drawn + p.keep;
  Candidates out{count, std::vector<float>(static_cast<size_t>(p.horizon * p.batch * count * a)),
                 std::vector<bool>(static_cast<size_t>(p.batch * count))};
  for (int64_t b = 0; b < p.batch; ++b) {
    const std::vector<float> plain = normals_of(isa, sizes, p, b, p.first_iteration, count);
    const std::vector<float> normals = mixed(p, plain, fused);
    for (int64_t i = 0; i < p.horizon * count * a; ++i) {
      const int64_t t = i / (count * a), j = i / a % count, k = i % a, e = j - drawn;
      const size_t of_mean = static_cast<size_t>((t * p.batch + b) * a + k);
      const size_t of_bound = static_cast<size_t>(b * a + k);
      const float normal = (e < 0 ? normals : plain)[static_cast<size_t>(i)];
      float x = p.mean[of_mean] + p.stddev[of_mean] * normal;
      if (e >= 0) {
        const float kept = p.kept[static_cast<size_t>(((t * p.batch + b) * p.keep + e) * a + k)];
        if (!std::isnan(kept)) x = kept;
        if (t == 0 && std::isnan(kept)) out.none[static_cast<size_t>(b * count + j)] = true;
      }
      x = std::fmin(std::fmax(x, p.low[of_bound]), p.high[of_bound]);
      out.actions[static_cast<size_t>(((t * p.batch + b) * count + j) * a + k)] = x;
    }
  }
  return out;
}

// One iteration: plan takes its results over.
PlanResult iterate(const cpu::Model& model, Plan& p, int64_t drawn, bool fused, Random& random) {
  const int64_t a = model.sizes.action;
  Candidates candidates = draw(model.isa, model.sizes, p, drawn, fused);
  const int64_t count = candidates.count;
  Rollout rollout(model.sizes, p.horizon, p.batch, count,
                  p.state_noise ? NoiseKind::kSeeds : NoiseKind::kNone, p.per_candidate, p.discount,
                  random);
  rollout.belief = p.belief;
  rollout.state = p.state;
  rollout.seeds = p.seeds;
  rollout.iteration = static_cast<uint32_t>(p.first_iteration);
  rollout.particle = 0;
  rollout.actions = candidates.actions;
  std::vector<float> returns = run_rollout(model, rollout, serial(1));
  for (size_t i = 0; i < returns.size(); ++i) {
    if (candidates.none[i]) returns[i] = NAN;
  }
  std::vector<float> best, action;
  for (int64_t b = 0; b < p.batch; ++b) {
    const float* of_row = returns.data() + b * count;
    const std::vector<int64_t> elites = oracle_elites(of_row, count, p.topk);
    const std::vector<double> weights = oracle_weights(of_row, elites, p.temperature);
    best.push_back(of_row[elites[0]]);
    for (int64_t i = 0; i < p.horizon * a; ++i) {
      const int64_t t = i / a, k = i % a;
      std::vector<float> chosen;
      for (const int64_t j : elites) {
        chosen.push_back(
            candidates.actions[static_cast<size_t>(((t * p.batch + b) * count + j) * a + k)]);
      }
      const Fitted fitted = oracle_fit(chosen, weights, p.spread, p.epsilon);
      const size_t out = static_cast<size_t>((t * p.batch + b) * a + k);
      const auto blend = [&](double value, float& old) {
        if (p.momentum > 0.0) {
          value = p.momentum * static_cast<double>(old) + (1.0 - p.momentum) * value;
        }
        old = static_cast<float>(value);
      };
      blend(fitted.mean, p.mean[out]);
      blend(fitted.stddev, p.stddev[out]);
      for (int64_t e = 0; e < p.keep; ++e) {
        const int64_t row = (t * p.batch + b) * p.keep + e;
        p.kept[static_cast<size_t>(row * a + k)] = chosen[static_cast<size_t>(e)];
      }
      if (t == 0) action.push_back(p.output == Output::kBest ? chosen[0] : p.mean[out]);
    }
  }
  ++p.first_iteration;
  return {0, p.mean, p.stddev, best, action, p.kept};
}

// cem_plan, made of normals, rollout_returns and the oracle of refits.
PlanResult loop(const cpu::Model& model, Plan plan, bool fused, Random& random) {
  PlanResult out{};
  for (int64_t i = 0; i < plan.iterations; ++i) {
    const int64_t drawn = plan.counts.empty() ? plan.candidates : plan.counts[size_t(i)];
    out = iterate(model, plan, drawn, fused, random);
  }
  out.iterations = plan.iterations;
  return out;
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

// Combinations of what relatives of the plain method have (Plan::relate), each part among them.
template <class Body>
void for_each_kind(Body body) {
  const int few[] = {0, 1, 2, 20, 40, 63}, more[] = {4, 8, 16, 32, 3, 7, 26, 37, 45, 54, 58};
  const auto check = [&](int kind) {
    const Scope scope("kind ", kind);
    body(kind);
  };
  for (const int kind : few) check(kind);
  for (const int kind : more) {
    if (!options().quick) check(kind);
  }
}

// The kernels join a product and a sum of mixed normals where the processor does.
void check_loop(const cpu::Model& model, const Plan& plan, Random& random) {
  const Scope scope("H ", plan.horizon, ", B ", plan.batch, ", J ", plan.candidates, ", K ",
                    plan.topk, ", E ", plan.keep);
  const PlanResult got = run_plan(model, plan, serial(1));
  CHECK(got == loop(model, plan, false, random) ||
        (!plan.mix.empty() && got == loop(model, plan, true, random)));
  for (const int workers : {2, 3, 7}) CHECK(run_plan(model, plan, serial(workers)) == got);
  CHECK(run_plan(model, plan, threads(3)) == got);
}

bool count_down(void* left) {
  return --*static_cast<int*>(left) <= 0;
}

}  // namespace

TEST("a plan equals a loop of draw, rollout and refit, bit for bit") {
  for_each_model(30, [](const cpu::Model& model, Random& random) {
    for (int trial = 0; trial < 6; ++trial) {
      const Plan plan = Plan::random(model.sizes, random, trial);
      check_loop(model, plan, random);
    }
    for_each_kind([&](int kind) {
      Plan plan = Plan::random(model.sizes, random, kind % 5);
      plan.relate(model.sizes, random, kind);
      check_loop(model, plan, random);
    });
  });
}

TEST("three iterations equal one and one and one") {
  for_each_model(31, [](const cpu::Model& model, Random& random) {
    for_each_kind([&](int kind) {
      Plan plan(model.sizes, 4, 2, 50, 7, random);
      plan.first_iteration = 5;
      plan.relate(model.sizes, random, kind);
      check_iterations_add_up(plan, [&](const Plan& p) { return run_plan(model, p, serial(1)); });
    });
  });
}

TEST("a problem alone is planned as in a batch") {
  for_each_model(32, [](const cpu::Model& model, Random& random) {
    for_each_kind([&](int kind) {
      Plan plan(model.sizes, 3, 3, 40, 6, random);
      plan.relate(model.sizes, random, kind);
      check_problems_are_alone(plan, model.sizes,
                               [&](const Plan& p) { return run_plan(model, p, threads(2)); });
    });
  });
}

TEST("what changes nothing changes no bit") {
  for_each_model(37, [](const cpu::Model& model, Random& random) {
    Plan plan(model.sizes, 4, 2, 67, 9, random);
    const PlanResult plain = run_plan(model, plan, serial(1));
    Plan same = plan;
    same.counts.assign(3, plan.candidates);
    CHECK(run_plan(model, same, serial(2)) == plain);
    for (int64_t t = 0; t < 4; ++t) {
      for (int64_t u = 0; u < 4; ++u) same.mix.push_back(t == u ? 1.0f : 0.0f);
    }
    CHECK(run_plan(model, same, serial(3)) == plain);
    same.temperature = 1e300;
    same.topk = plan.topk = 1;
    CHECK(run_plan(model, same, serial(1)) == run_plan(model, plan, serial(1)));
  });
}

TEST("kept sequences that are none leave a first iteration as it was") {
  for_each_model(38, [](const cpu::Model& model, Random& random) {
    Plan plan(model.sizes, 4, 2, 67, 9, random);
    plan.iterations = 1;
    PlanResult plain = run_plan(model, plan, serial(1));
    plan.keep = 9;
    plan.kept.assign(static_cast<size_t>(4 * 2 * 9 * model.sizes.action), NAN);
    const PlanResult kept = run_plan(model, plan, threads(3));
    plain.kept = kept.kept;
    CHECK(kept == plain);
    for (const float x : kept.kept) CHECK(!std::isnan(x));
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
    Plan whole(model.sizes, 3, 1, 30, 5, random);
    whole.iterations = 5;
    whole.relate(model.sizes, random, 63);
    for (int trial = 0; trial < 6; ++trial) {
      const int after = trial % 3 + 1;
      const Scope scope("stop after ", after);
      Plan plan = trial < 3 ? whole : Plan(model.sizes, 3, 1, 30, 5, random);
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
