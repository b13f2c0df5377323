// The portable plan: against its parts, and against the CPU's, iteration by iteration.
#include <algorithm>
#include <cmath>

#include "cuda_plans.h"
#include "emulator.h"
#include "harness.h"
#include "pools.h"

namespace planet::tests {
namespace {

const Shape kShapes[] = {{15, 4, 3, 12, {9, 1}, false}, {0, 5, 2, 11, {6, 5, 1}, true, true}};

PlanResult run_cuda_plan(const cuda::Model& model, const Plan& plan) {
  PlanCall call(plan);
  const cuda::Variant variant = cuda::Variant::kPortable;
  CHECK(cuda::plan_refusal(model, call.problem, variant) == nullptr);
  Fenced<unsigned char> workspace(cuda::plan_workspace(model, call.problem, variant), 256);
  const char* error = cuda::cem_plan(model, call.problem, variant, workspace.data(), nullptr);
  if (error != nullptr) report_failure(__FILE__, __LINE__, error);
  return call.result(plan.iterations);
}

Plan random_plan(const ModelSizes& sizes, Random& random, int trial) {
  Plan plan = Plan::random(sizes, random, trial);
  plan.iterations = 1;
  plan.mean = random.uniforms(static_cast<int64_t>(plan.mean.size()), -0.3, 0.3);
  plan.stddev = random.uniforms(static_cast<int64_t>(plan.stddev.size()), 0.1, 1.0);
  return plan;
}

template <class Body>
void for_each_model(uint64_t seed, Body body) {
  Random random(options().seed + seed);
  for (const Shape& shape : kShapes) {
    const RandomModel model(shape, random);
    for (const Precision precision : kCudaPrecisions) {
      const Scope scope(precision_name(precision), ", ", shape.name());
      body(CudaModel(model, precision).model, model, random);
    }
  }
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

// Smallest distance between the last elite's return and the next one's, over the problems.
double elite_gap(const std::vector<float>& returns, const Plan& p) {
  double gap = INFINITY;
  const int64_t count = static_cast<int64_t>(returns.size()) / p.batch;
  for (int64_t b = 0; b < p.batch && p.topk < count; ++b) {
    std::vector<float> sorted(returns.begin() + b * count, returns.begin() + (b + 1) * count);
    for (float& x : sorted) x = std::isnan(x) ? -INFINITY : x;
    std::sort(sorted.rbegin(), sorted.rend());
    const size_t k = static_cast<size_t>(p.topk);
    gap = std::min(gap, static_cast<double>(sorted[k - 1]) - static_cast<double>(sorted[k]));
  }
  return gap;
}

}  // namespace

TEST("CUDA: an iteration of a plan equals drawing, rolling out and refitting") {
  for_each_model(160, [](const cuda::Model& model, const RandomModel&, Random& random) {
    for (int trial = 0; trial < (options().quick ? 12 : 30); ++trial) {
      // Behind trial 5 all candidates have one start, and the plan what the method's relatives
      // have.
      Plan plan = random_plan(model.sizes, random, trial < 6 ? trial : trial % 5);
      if (trial >= 6) plan.relate(model.sizes, random, static_cast<int>(random.integer(1, 63)));
      const Scope scope("H ", plan.horizon, ", B ", plan.batch, ", J ", plan.candidates, ", K ",
                        plan.topk, ", E ", plan.keep);
      const Rollout rollout = rollout_of(plan, model.sizes, random);
      check_refitted(
          run_cuda_plan(model, plan),
          refitted(plan, model.sizes.action, rollout.actions, run_rollout(model, rollout)), plan);
    }
  });
}

TEST("CUDA: three iterations equal one and one and one") {
  for_each_model(161, [](const cuda::Model& model, const RandomModel&, Random& random) {
    for (const int kind : {0, 2, 4, 24, 63}) {
      const Scope scope("kind ", kind);
      Plan plan(model.sizes, 4, 2, 50, 7, random);
      plan.first_iteration = 5;
      plan.relate(model.sizes, random, kind);
      check_iterations_add_up(plan, [&](const Plan& p) { return run_cuda_plan(model, p); });
    }
  });
}

TEST("CUDA: a problem alone is planned as in a batch") {
  for_each_model(162, [](const cuda::Model& model, const RandomModel&, Random& random) {
    for (const int kind : {0, 63}) {
      Plan plan(model.sizes, 3, 3, 40, 6, random);
      plan.relate(model.sizes, random, kind);
      check_problems_are_alone(plan, model.sizes,
                               [&](const Plan& p) { return run_cuda_plan(model, p); });
    }
  });
}

TEST("CUDA: a plan with settings that change nothing equals one without, bit for bit") {
  for_each_model(168, [](const cuda::Model& model, const RandomModel&, Random& random) {
    for (const int64_t horizon : {1, 9}) {
      const Plan plain(model.sizes, horizon, 2, 37, 6, random);
      const PlanResult wanted = run_cuda_plan(model, plain);
      Plan mixed = plain;
      for (int64_t i = 0; i < horizon * horizon; ++i) {
        mixed.mix.push_back(i % (horizon + 1) == 0 ? 1.0f : 0.0f);
      }
      CHECK(run_cuda_plan(model, mixed) == wanted);
      Plan counted = plain;
      counted.counts = {37, 37, 37};
      CHECK(run_cuda_plan(model, counted) == wanted);
      Plan best = plain;
      best.output = Output::kBest;
      PlanResult got = run_cuda_plan(model, best);
      CHECK(got.action != wanted.action);
      got.action = wanted.action;
      CHECK(got == wanted);
      // Sequences that are none change neither; what is kept of one iteration is not yet used.
      Plan kept = plain;
      kept.iterations = 1;
      const PlanResult once = run_cuda_plan(model, kept);
      kept.keep = 4;
      kept.kept.assign(4 * plain.mean.size(), NAN);
      got = run_cuda_plan(model, kept);
      CHECK(got.kept.size() == kept.kept.size());
      got.kept.clear();
      CHECK(got == once);
    }
  });
}

TEST("CUDA: what a plan keeps is scored again, so that its best return does not fall") {
  for_each_model(169, [](const cuda::Model& model, const RandomModel&, Random& random) {
    Plan plan(model.sizes, 4, 2, 9, 3, random);
    plan.state_noise = false;
    plan.iterations = 1;
    plan.keep = 1;
    plan.kept.assign(plan.mean.size(), NAN);
    std::vector<float> best(2, -INFINITY);
    for (int i = 0; i < 6; ++i) {
      const PlanResult got = run_cuda_plan(model, plan);
      for (size_t b = 0; b < 2; ++b) CHECK(got.best[b] >= best[b]);
      best = got.best;
      plan.mean = got.mean;
      plan.stddev = got.stddev;
      plan.kept = got.kept;
      ++plan.first_iteration;
    }
  });
}

TEST("CUDA: each iteration in float32 agrees with the CPU's from the same distribution") {
  Random random(options().seed + 163);
  double largest = 0.0;
  int compared = 0, skipped = 0;
  for (const Shape& shape : kShapes) {
    for (int trial = 0; trial < 4; ++trial) {
      const RandomModel source(shape, random);
      const CudaModel packed(source, Precision::kFloat32);
      const PackedModel cpu(source, {0, Precision::kFloat32});
      Plan plan = random_plan(source.sizes, random, trial);
      // All but a temperature, which makes much of small differences between returns.
      if (trial >= 2) plan.relate(source.sizes, random, trial == 2 ? 47 : 11);
      for (int64_t i = 0; i < 4; ++i) {
        const Rollout rollout = rollout_of(plan, source.sizes, random);
        const double gap = elite_gap(run_rollout(cpu.model, rollout, serial(1)), plan);
        const PlanResult expected = run_plan(cpu.model, plan, serial(1));
        const PlanResult got = run_cuda_plan(packed.model, plan);
        if (gap > 1e-4) {
          ++compared;
          largest = std::max(largest, largest_difference(got.mean, expected.mean));
          largest = std::max(largest, largest_difference(got.stddev, expected.stddev));
          CHECK_AT_MOST(largest, 2e-6);  // 5 times the bound of the normals
          CHECK_AT_MOST(largest_difference(got.best, expected.best), 2e-5);
        } else {
          ++skipped;  // other elites would be as right
        }
        plan.mean = expected.mean;
        plan.stddev = expected.stddev;
        plan.kept = expected.kept;
        ++plan.first_iteration;
      }
    }
  }
  CHECK_AT_MOST(skipped, compared);
  note(show(compared) + " compared, " + show(skipped) + " with close elites; largest difference " +
       show(largest));
}

TEST("CUDA: a plan does not depend on the order in which threads run") {
  for_each_model(164, [](const cuda::Model& model, const RandomModel&, Random& random) {
    for (const int kind : {0, 63}) {
      Plan plan(model.sizes, 2, 2, 40, 6, random);
      plan.iterations = 2;
      plan.relate(model.sizes, random, kind);
      const PlanResult once = run_cuda_plan(model, plan);
      for (uint64_t seed = 1; seed <= (options().quick ? 1 : 3); ++seed) {
        const cuda::emulator::JitterScope jitter(seed);
        CHECK(run_cuda_plan(model, plan) == once);
      }
    }
  });
}

TEST("CUDA: a plan lists elites in its workspace where shared memory is too small") {
  Random random(options().seed + 165);
  const CudaModel packed(RandomModel({3, 2, 2, 4, {1}, false}, random), Precision::kFloat32);
  Plan plan(packed.model.sizes, 1, 2, 4200, 4100, random);
  plan.iterations = 1;
  plan.relate(packed.model.sizes, random, 58);
  const Rollout rollout = rollout_of(plan, packed.model.sizes, random);
  check_refitted(run_cuda_plan(packed.model, plan),
                 refitted(plan, 2, rollout.actions, run_rollout(packed.model, rollout)), plan);
}

TEST("CUDA: a workspace that would overflow is refused") {
  Random random(options().seed + 166);
  const CudaModel packed(RandomModel(kShapes[0], random), Precision::kFloat32);
  PlanProblem problem = too_large_problem();
  CHECK_EQUAL(cuda::plan_workspace(packed.model, problem, cuda::Variant::kPortable), int64_t{-1});
  problem.batch = int64_t{1} << 20;
  CHECK(cuda::plan_workspace(packed.model, problem, cuda::Variant::kPortable) > 0);
  problem.keep = 1;
  problem.batch = int64_t{1} << 20;
  problem.horizon = 65535;
  CHECK_EQUAL(cuda::plan_workspace(packed.model, problem, cuda::Variant::kPortable), int64_t{-1});
}

TEST("CUDA: a variant that the device does not run is an error with a reason") {
  Random random(options().seed + 167);
  const cuda::emulator::DeviceScope old(cuda::emulator::Device::sm_80());
  const CudaModel packed(RandomModel(kShapes[0], random), Precision::kFloat16);
  PlanProblem problem{};
  problem.horizon = problem.batch = problem.candidates = problem.topk = problem.iterations = 1;
  const char* refusal = cuda::plan_refusal(packed.model, problem, cuda::Variant::kPersistent);
  const char* error =
      cuda::cem_plan(packed.model, problem, cuda::Variant::kPersistent, nullptr, nullptr);
  CHECK(refusal != nullptr && std::string(refusal).size() > 20);
  CHECK(refusal == error);
}

TEST("CUDA: the persistent variant refuses each setting of the plain method's relatives") {
  Random random(options().seed + 171);
  const CudaModel packed(RandomModel({32, 3, 2, 30, {25, 31, 1}, false}, random),
                         Precision::kFloat16);
  const Plan plain(packed.model.sizes, 3, 1, 20, 4, random);
  const auto refusal = [&](auto change) {
    Plan plan = plain;
    change(plan);
    const PlanCall call(plan);
    const char* said = cuda::plan_refusal(packed.model, call.problem, cuda::Variant::kPersistent);
    return std::string(said ? said : "");
  };
  const std::string who = "the persistent variant ";
  CHECK_EQUAL(refusal([](Plan&) {}), std::string());
  CHECK_EQUAL(refusal([](Plan& p) { p.counts = {20, 20, 20}; }), std::string());
  CHECK_EQUAL(refusal([](Plan& p) { p.counts = {20, 20, 10}; }),
              who + "needs equal candidates in every iteration");
  CHECK_EQUAL(refusal([](Plan& p) { p.mix.assign(9, 1.0f); }), who + "takes no mix");
  CHECK_EQUAL(refusal([](Plan& p) { p.keep = 1; }), who + "takes no kept sequences (keep)");
  CHECK_EQUAL(refusal([](Plan& p) { p.momentum = 0.1; }), who + "takes no momentum");
  CHECK_EQUAL(refusal([](Plan& p) { p.temperature = 0.1; }), who + "takes no temperature");
  CHECK_EQUAL(refusal([](Plan& p) { p.output = Output::kBest; }),
              who + "has the output 'mean' only");
}

TEST(
    "CUDA: the persistent variant refuses a model with continuation, the portable one plans in "
    "it") {
  Random random(options().seed + 172);
  const CudaModel packed(RandomModel({32, 3, 2, 30, {25, 31, 2}, false}, random),
                         Precision::kFloat16);
  const PlanCall call(Plan(packed.model.sizes, 3, 1, 20, 4, random));
  CHECK_EQUAL(
      std::string(cuda::plan_refusal(packed.model, call.problem, cuda::Variant::kPersistent)),
      std::string("the persistent variant takes no model with continuation (a reward model whose "
                  "last layer has two rows)"));
  CHECK(cuda::plan_refusal(packed.model, call.problem, cuda::Variant::kPortable) == nullptr);
}

}  // namespace planet::tests
