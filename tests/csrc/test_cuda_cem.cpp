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
  for (int64_t b = 0; b < p.batch && p.topk < p.candidates; ++b) {
    std::vector<float> sorted(returns.begin() + b * p.candidates,
                              returns.begin() + (b + 1) * p.candidates);
    std::sort(sorted.rbegin(), sorted.rend());
    const size_t k = static_cast<size_t>(p.topk);
    gap = std::min(gap, static_cast<double>(sorted[k - 1]) - static_cast<double>(sorted[k]));
  }
  return gap;
}

}  // namespace

TEST("CUDA: an iteration of a plan equals drawing, rolling out and refitting") {
  for_each_model(160, [](const cuda::Model& model, const RandomModel&, Random& random) {
    for (int trial = 0; trial < 6; ++trial) {
      const Plan plan = random_plan(model.sizes, random, trial);
      const Scope scope("H ", plan.horizon, ", B ", plan.batch, ", J ", plan.candidates, ", K ",
                        plan.topk);
      const Rollout rollout = rollout_of(plan, model.sizes, random);
      const FitResult fit =
          run_refit({plan.horizon, plan.batch, plan.candidates, plan.topk, model.sizes.action,
                     plan.spread, plan.epsilon, rollout.actions, run_rollout(model, rollout)},
                    serial(1));
      const PlanResult got = run_cuda_plan(model, plan);
      CHECK(same_bits(got.best, fit.best));
      // The sums of a plan have another order: in double precision, so at most the next float.
      CHECK_AT_MOST(largest_difference(got.mean, fit.mean), 1.2e-7);
      CHECK_AT_MOST(largest_difference(got.stddev, fit.stddev), 1.2e-7);
    }
  });
}

TEST("CUDA: three iterations equal one and one and one") {
  for_each_model(161, [](const cuda::Model& model, const RandomModel&, Random& random) {
    Plan plan(model.sizes, 4, 2, 50, 7, random);
    plan.first_iteration = 5;
    check_iterations_add_up(plan, [&](const Plan& p) { return run_cuda_plan(model, p); });
  });
}

TEST("CUDA: a problem alone is planned as in a batch") {
  for_each_model(162, [](const cuda::Model& model, const RandomModel&, Random& random) {
    const Plan plan(model.sizes, 3, 3, 40, 6, random);
    check_problems_are_alone(plan, model.sizes,
                             [&](const Plan& p) { return run_cuda_plan(model, p); });
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
    Plan plan(model.sizes, 2, 2, 40, 6, random);
    plan.iterations = 2;
    const PlanResult once = run_cuda_plan(model, plan);
    for (uint64_t seed = 1; seed <= (options().quick ? 1 : 3); ++seed) {
      const cuda::emulator::JitterScope jitter(seed);
      CHECK(run_cuda_plan(model, plan) == once);
    }
  });
}

TEST("CUDA: a plan lists elites in its workspace where shared memory is too small") {
  Random random(options().seed + 165);
  const CudaModel packed(RandomModel({3, 2, 2, 4, {1}, false}, random), Precision::kFloat32);
  Plan plan(packed.model.sizes, 1, 2, 4200, 4100, random);
  plan.iterations = 1;
  const Rollout rollout = rollout_of(plan, packed.model.sizes, random);
  const FitResult fit = run_refit({1, 2, 4200, 4100, 2, plan.spread, plan.epsilon, rollout.actions,
                                   run_rollout(packed.model, rollout)},
                                  serial(1));
  const PlanResult got = run_cuda_plan(packed.model, plan);
  CHECK(same_bits(got.best, fit.best));
  CHECK_AT_MOST(largest_difference(got.mean, fit.mean), 1.2e-7);
}

TEST("CUDA: a workspace that would overflow is refused") {
  Random random(options().seed + 166);
  const CudaModel packed(RandomModel(kShapes[0], random), Precision::kFloat32);
  CHECK_EQUAL(cuda::plan_workspace(packed.model, too_large_problem(), cuda::Variant::kPortable),
              int64_t{-1});
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

}  // namespace planet::tests
