// The persistent planner: its returns against the oracle in double precision, its refit against the
// CPU's of the same returns, and what must not depend on how the work is spread.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>

#include "cuda/persistent/plan.h"
#include "cuda_plans.h"
#include "emulator.h"
#include "harness.h"
#include "oracle.h"
#include "pools.h"

namespace planet::tests {
namespace {

const Shape kPaper{200, 30, 6, 200, {200, 200, 1}, false};
const Shape kSmall{32, 3, 2, 30, {25, 31, 1}, true, true};

struct Planned {
  PlanResult plan;
  std::vector<float> returns;  // of the last iteration

  bool operator==(const Planned& other) const {
    return plan == other.plan && same_bits(returns, other.returns);
  }
};

Planned run(const cuda::Model& model, const Plan& plan) {
  PlanCall call(plan);
  Fenced<unsigned char> workspace(cuda::persistent_workspace(model, call.problem), 256);
  const char* error = cuda::persistent_refusal(model, call.problem);
  if (error == nullptr) {
    error = cuda::persistent_plan(model, call.problem, workspace.data(), nullptr);
  }
  if (error != nullptr) report_failure(__FILE__, __LINE__, error);
  const float* returns = cuda::persistent_returns(workspace.data());
  return {call.result(plan.iterations), {returns, returns + plan.batch * plan.candidates}};
}

double relative_error(const std::vector<float>& got, const Returns& expected) {
  double squares = 0.0, scale = 0.0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = static_cast<double>(got[i]) - expected.values[i];
    squares += error * error;
    scale += expected.values[i] * expected.values[i];
  }
  return std::sqrt(squares / std::max(scale, 1e-4));
}

Plan random_plan(const ModelSizes& sizes, int64_t horizon, int64_t batch, int64_t candidates,
                 int64_t topk, Random& random) {
  Plan out(sizes, horizon, batch, candidates, topk, random);
  out.iterations = 1;
  out.first_iteration = random.integer(0, 1000);
  out.mean = random.uniforms(static_cast<int64_t>(out.mean.size()), -0.5, 0.5);
  out.stddev = random.uniforms(static_cast<int64_t>(out.stddev.size()), 0.1, 1.0);
  return out;
}

// One iteration: the returns are the oracle's, and the refit is the CPU's of these returns.
double check_iteration(const RandomModel& source, Precision precision, const Plan& plan,
                       double bound, Random& random) {
  const CudaModel model(source, precision);
  const Planned got = run(model.model, plan);
  const Rollout rollout = rollout_of(plan, source.sizes, random);
  const double error =
      relative_error(got.returns, oracle_returns(source, Precision::kFloat32, rollout));
  CHECK_AT_MOST(error, bound);
  const std::vector<float> portable = run_rollout(model.model, rollout);
  CHECK_AT_MOST(relative_error(got.returns, {{portable.begin(), portable.end()}, 1.0, 1.0}), bound);
  const FitResult fit =
      run_refit({plan.horizon, plan.batch, plan.candidates, plan.topk, source.sizes.action,
                 plan.spread, plan.epsilon, rollout.actions, got.returns},
                serial(1));
  CHECK(same_bits(got.plan.best, fit.best));
  for (size_t i = 0; i < fit.mean.size(); ++i) {
    CHECK_AT_MOST(std::abs(got.plan.mean[i] - fit.mean[i]), 1e-6f);
    CHECK_AT_MOST(std::abs(got.plan.stddev[i] - fit.stddev[i]), 1e-6f);
  }
  return error;
}

constexpr double kBoundFp16 = 2e-3, kBoundBf16 = 1.5e-2;  // tests/ops/tolerances.py

}  // namespace

TEST("CUDA: one iteration of the persistent planner, paper's sizes, against the oracle") {
  Random random(options().seed + 200);
  const RandomModel source(kPaper, random);
  const Plan plan = random_plan(source.sizes, 3, 1, 70, 9, random);
  note("fp16 " + show(check_iteration(source, Precision::kFloat16, plan, kBoundFp16, random)));
  note("bf16 " + show(check_iteration(source, Precision::kBfloat16, plan, kBoundBf16, random)));
}

TEST("CUDA: one iteration of the persistent planner, other sizes, against the oracle") {
  Random random(options().seed + 201);
  const Shape shapes[] = {kSmall,
                          {25, 1, 1, 32, {26, 32, 1}, false},
                          {64, 16, 5, 64, {64, 64, 1}, true},
                          {65, 32, 17, 72, {66, 70, 1}, false},
                          {208, 17, 38, 208, {201, 203, 1}, true}};
  for (const Shape& shape : shapes) {
    const Scope scope(shape.name());
    const RandomModel source(shape, random, 2.0);
    for (const int64_t candidates : {31, 33}) {
      const Scope with("J ", candidates);
      Plan plan = random_plan(source.sizes, 1 + candidates % 4, 1 + candidates % 3, candidates,
                              candidates / 3, random);
      plan.state_noise = candidates != 31;
      plan.discount = candidates == 33 ? 0.9 : 1.0;
      plan.low = random.uniforms(static_cast<int64_t>(plan.low.size()), -1.0, -0.5);
      if (candidates == 33) plan.spread = Spread::kMeanAbsolute;
      check_iteration(source, Precision::kFloat16, plan, kBoundFp16, random);
      check_iteration(source, Precision::kBfloat16, plan, kBoundBf16, random);
    }
  }
}

TEST("CUDA: the persistent planner's candidates do not depend on how many there are") {
  Random random(options().seed + 202);
  const RandomModel source(kSmall, random);
  const CudaModel model(source, Precision::kFloat16);
  Plan plan = random_plan(source.sizes, 4, 1, 97, 1, random);
  const Planned all = run(model.model, plan);
  for (const int64_t candidates : {1, 2, 31, 32, 64, 65}) {
    plan.candidates = candidates;
    const std::vector<float> expected(all.returns.begin(), all.returns.begin() + candidates);
    CHECK(same_bits(run(model.model, plan).returns, expected));
  }
}

TEST("CUDA: the persistent planner's iterations in one launch equal one launch each") {
  Random random(options().seed + 203);
  for (const Precision precision : {Precision::kFloat16, Precision::kBfloat16}) {
    const RandomModel source(kSmall, random);
    const CudaModel model(source, precision);
    const Plan plan = random_plan(source.sizes, 5, 2, 80, 7, random);
    check_iterations_add_up(plan, [&](const Plan& p) { return run(model.model, p).plan; });
  }
}

TEST("CUDA: the persistent planner's results do not depend on the number of resident clusters") {
  Random random(options().seed + 204);
  const RandomModel source(kSmall, random);
  const CudaModel model(source, Precision::kFloat16);
  Plan plan = random_plan(source.sizes, 3, 2, 100, 12, random);
  plan.iterations = 2;
  const Planned all = run(model.model, plan);
  for (const int clusters : {1, 2, 3, 7}) {
    cuda::emulator::Device device = cuda::emulator::Device::sm_90();
    device.active_clusters = clusters;
    const cuda::emulator::DeviceScope scope(device);
    CHECK(run(model.model, plan) == all);
  }
}

TEST("CUDA: the persistent planner's results do not depend on the order in which threads run") {
  Random random(options().seed + 205);
  const Shape shapes[] = {kSmall, kPaper};
  for (const Shape& shape : shapes) {
    const RandomModel source(shape, random);
    const CudaModel model(source, Precision::kFloat16);
    Plan plan = random_plan(source.sizes, 4, 1, 70, 8, random);
    plan.iterations = 2;
    const Planned once = run(model.model, plan);
    const uint64_t seeds = options().quick ? 2 : shape.belief == kPaper.belief ? 4 : 50;
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      const Scope scope("jitter ", seed);
      const cuda::emulator::JitterScope jitter(seed);
      CHECK(run(model.model, plan) == once);
    }
  }
}

TEST("CUDA: the persistent planner's problems do not depend on their batch") {
  Random random(options().seed + 206);
  const RandomModel source(kSmall, random);
  const CudaModel model(source, Precision::kBfloat16);
  Plan plan = random_plan(source.sizes, 3, 3, 40, 5, random);
  plan.iterations = 2;
  check_problems_are_alone(plan, source.sizes,
                           [&](const Plan& p) { return run(model.model, p).plan; });
}

TEST("CUDA: the persistent planner computes what leaves fp16's range exactly; bf16's is NaN") {
  for (const Precision precision : {Precision::kFloat16, Precision::kBfloat16}) {
    Random random(options().seed + 207);
    const RandomModel source(kSmall, random);
    const CudaModel model(source, precision);
    Plan plan = random_plan(source.sizes, 3, 2, 75, 6, random);
    plan.start_each(source.sizes, random);
    const int64_t d = source.sizes.belief, s = source.sizes.state, rows = 2 * plan.candidates;
    const Planned ordinary = run(model.model, plan);
    const bool half = precision == Precision::kFloat16;
    const std::vector<int64_t> beyond{0, 3, 31, 32, 33, 34, 35, 74, 80, 149};
    for (const int64_t row : beyond) {
      plan.state[static_cast<size_t>(row * s + row % s)] = half ? 7e4f : 2e38f;
    }
    for (int64_t row = 64; row < 74; ++row) {
      plan.belief[static_cast<size_t>(row * d)] = half ? -1e6f : -INFINITY;
    }
    plan.belief[static_cast<size_t>(100 * d + 5)] = NAN;
    const Planned got = run(model.model, plan);
    // The exact path is the portable rollout's, and does not depend on who shares it.
    const std::vector<float> portable =
        run_rollout(model.model, rollout_of(plan, source.sizes, random));
    for (int64_t row = 0; row < rows; ++row) {
      const Scope scope(precision_name(precision), ", candidate ", row);
      const size_t i = static_cast<size_t>(row);
      const bool left = std::count(beyond.begin(), beyond.end(), row) > 0 || (row > 63 && row < 74);
      if (row == 100 || (left && !half)) {
        CHECK(std::isnan(got.returns[i]) && std::isnan(portable[i]));
      } else {
        CHECK(std::isfinite(got.returns[i]));
        CHECK_EQUAL(got.returns[i], left ? portable[i] : ordinary.returns[i]);
      }
    }
  }
}

TEST("CUDA: the persistent planner goes on after candidates that left fp16's range") {
  Random random(options().seed + 208);
  const RandomModel source(kSmall, random);
  const CudaModel model(source, Precision::kFloat16);
  Plan plan = random_plan(source.sizes, 2, 1, 100, 6, random);
  plan.iterations = 2;
  plan.state[0] = 1e5f;  // of all candidates
  const Planned all = run(model.model, plan);
  cuda::emulator::Device device = cuda::emulator::Device::sm_90();
  device.active_clusters = 1;
  const cuda::emulator::DeviceScope scope(device);
  CHECK(run(model.model, plan) == all);
  for (const float x : all.returns) CHECK(std::isfinite(x));
}

namespace {

// The refusal of a plan with J 100 and K `topk` on the present device, or "".
std::string refusal(const Shape& shape, Precision precision, int64_t topk = 10) {
  cuda::Model model{};
  model.sizes = shape.sizes();
  model.precision = precision;
  PlanProblem problem{};
  problem.batch = 1;
  problem.candidates = std::max<int64_t>(100, topk);
  problem.topk = topk;
  const char* text = cuda::persistent_refusal(model, problem);
  return text ? text : "";
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST("CUDA: the persistent planner says why it refuses a plan") {
  using cuda::emulator::Device;
  using cuda::emulator::DeviceScope;
  const Precision fp16 = Precision::kFloat16;
  CHECK_EQUAL(refusal(kPaper, fp16), "");
  CHECK_EQUAL(refusal(kPaper, Precision::kBfloat16), "");
  CHECK_EQUAL(refusal({200, 30, 32, 200, {200, 200, 1}, true}, fp16), "");
  CHECK(contains(refusal(kPaper, Precision::kFloat32), "fp16 or bf16"));
  CHECK(contains(refusal({0, 30, 6, 200, {200, 200, 1}, false}, fp16), "belief"));
  CHECK(contains(refusal({200, 30, 6, 200, {200, 1}, false}, fp16), "three layers"));
  CHECK(contains(refusal({200, 30, 6, 200, {200, 300, 1}, false}, fp16), "one width"));
  CHECK(contains(refusal({216, 30, 6, 216, {216, 216, 1}, false}, fp16), "25 to 208"));
  CHECK(contains(refusal({24, 30, 6, 24, {24, 24, 1}, false}, fp16), "25 to 208"));
  CHECK(contains(refusal({200, 33, 6, 200, {200, 200, 1}, false}, fp16), "state"));
  CHECK(contains(refusal({200, 30, 64, 200, {200, 200, 1}, false}, fp16), "shared memory"));
  CHECK(contains(refusal(kPaper, fp16, int64_t{1} << 40), "shared memory"));
  for (const Device& device : {Device::sm_80(), Device::sm_120()}) {
    const DeviceScope scope(device);
    CHECK(contains(refusal(kPaper, fp16), "compute capability"));
  }
  {
    const DeviceScope scope(Device::sm_100());
    CHECK_EQUAL(refusal(kPaper, fp16), "");
  }
  Device full = Device::sm_90();
  full.multiprocessors = 3;
  const DeviceScope scope(full);
  CHECK(contains(refusal(kPaper, fp16), "no room for a cluster"));
}

// What comes of asking for a small persistent plan all the same.
std::string plan_error() {
  Random random(options().seed + 209);
  const RandomModel source(kSmall, random);
  const CudaModel model(source, Precision::kFloat16);
  PlanCall call(random_plan(source.sizes, 2, 1, 40, 5, random));
  const char* error =
      cuda::cem_plan(model.model, call.problem, cuda::Variant::kPersistent, nullptr, nullptr);
  return error == nullptr ? "" : error;
}

TEST("CUDA: a build whose code for the device has no persistent kernel says so and plans nothing") {
  cuda::emulator::Device hopper = cuda::emulator::Device::sm_90();
  hopper.ptx_version = 80;  // of compute_80, translated for this device: the kernel is empty
  const cuda::emulator::DeviceScope scope(hopper);
  const std::string text = refusal(kPaper, Precision::kFloat16);
  CHECK(contains(text, "has code for compute capability 8.0 alone"));
  CHECK(contains(text, "the persistent kernel begins with 9.0"));
  CHECK(contains(text, "PLANET_CUDA_ARCHS=90-real"));
  CHECK_EQUAL(plan_error(), text);
}

TEST("CUDA: an error of the runtime is no refusal of a persistent plan, but the plan's error") {
  cuda::emulator::Device broken = cuda::emulator::Device::sm_90();
  broken.ptx_version = -cudaErrorInvalidValue;
  const cuda::emulator::DeviceScope scope(broken);
  CHECK_EQUAL(refusal(kPaper, Precision::kFloat16), "");
  CHECK_EQUAL(plan_error(), std::string("invalid argument"));
}

TEST("CUDA: code of an older architecture that has the persistent kernel serves newer devices") {
  cuda::emulator::Device blackwell = cuda::emulator::Device::sm_100();
  blackwell.ptx_version = 90;
  const cuda::emulator::DeviceScope scope(blackwell);
  CHECK_EQUAL(refusal(kPaper, Precision::kFloat16), "");
}

TEST("CUDA: what a persistent plan needs is asked once per device, kernel and shared memory") {
  const cuda::emulator::DeviceScope scope(cuda::emulator::Device::sm_90());
  Random random(options().seed + 210);
  const RandomModel source(kSmall, random);
  const CudaModel fp16(source, Precision::kFloat16), bf16(source, Precision::kBfloat16);
  const Plan plan = random_plan(source.sizes, 2, 1, 40, 5, random);
  const auto ask = [&plan](const cuda::Model& model) {
    const cuda::emulator::Asked before = cuda::emulator::asked();
    run(model, plan);
    PlanCall call(plan);
    CHECK(cuda::plan_refusal(model, call.problem, cuda::Variant::kPersistent) == nullptr);
    const cuda::emulator::Asked after = cuda::emulator::asked();
    CHECK_EQUAL(after.attributes - before.attributes, after.occupancies - before.occupancies);
    return after.occupancies - before.occupancies;
  };
  CHECK_EQUAL(ask(fp16.model), 1);
  CHECK_EQUAL(ask(fp16.model), 0);
  CHECK_EQUAL(ask(bf16.model), 1);
}

}  // namespace planet::tests
