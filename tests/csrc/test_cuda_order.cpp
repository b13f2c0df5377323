// The kernels as they are, every access to memory watched; and without one of their barriers and
// fences at a time, which must be a named failure.
#include <functional>
#include <map>
#include <memory>

#include "cuda/cem_refit.h"
#include "cuda_plans.h"
#include "emulator.h"
#include "harness.h"

namespace planet::tests {
namespace {

using cuda::Variant;
using cuda::emulator::Device;
using cuda::emulator::DeviceScope;

// Runs launches; returns what they said, "" if nothing.
using Scenario = std::function<std::string()>;

const Shape kSmall{32, 3, 2, 30, {25, 31, 1}, true, true};

struct PlanScenario {
  Variant variant;
  Precision precision;
  Shape shape;
  int64_t horizon, topk;
  int64_t beyond;  // so many candidates leave fp16's range
  int clusters;    // resident ones
  int kind = 0;    // of Plan::relate; then all candidates have one start
};

// Kinds of Plan::relate: all, and all whose actions the rollouts draw.
constexpr int kWritten = 63, kDrawn = 60;

// Two iterations of a plan of two problems, two tiles of candidates each.
Plan plan_of(const ModelSizes& sizes, const PlanScenario& s) {
  Random random(options().seed + 300);
  Plan plan(sizes, s.horizon, 2, 40, s.topk, random);
  plan.iterations = 2;
  if (s.kind != 0) {
    plan.relate(sizes, random, s.kind);
  } else {
    plan.start_each(sizes, random);
  }
  for (int64_t row = 0; row < s.beyond; ++row) {
    plan.state[static_cast<size_t>(row * sizes.state)] = 7e4f;
  }
  return plan;
}

// A plan's arrays, to be run on streams.
class Planned {
 public:
  explicit Planned(const PlanScenario& s)
      : variant_(s.variant),
        random_(options().seed + 301),
        source_(s.shape, random_),
        model_(source_, s.precision),
        plan_(plan_of(source_.sizes, s)),
        call_(plan_),
        workspace_(cuda::plan_workspace(model_.model, call_.problem, variant_), 256) {}

  std::string run(void* workspace = nullptr, void* stream = nullptr) {
    const char* error = cuda::cem_plan(model_.model, call_.problem, variant_,
                                       workspace ? workspace : workspace_.data(), stream);
    return error ? error : "";
  }
  void* workspace() { return workspace_.data(); }

 private:
  Variant variant_;
  Random random_;
  RandomModel source_;
  CudaModel model_;
  Plan plan_;
  PlanCall call_;
  Fenced<unsigned char> workspace_;
};

Scenario planned(const PlanScenario& s) {
  const auto plan = std::make_shared<Planned>(s);
  Device device = Device::sm_90();
  device.active_clusters = s.clusters;
  return [=] {
    const DeviceScope scope(device);
    return plan->run();
  };
}

Scenario packed() {
  return [] {
    Random random(options().seed + 302);
    const RandomModel source(kSmall, random);
    Fenced<unsigned char> out(cuda::packed_bytes(source.sizes, Precision::kFloat16), 256);
    const char* error =
        cuda::pack(source.sizes, source.weights(), Precision::kFloat16, out.data(), nullptr);
    return std::string(error ? error : "");
  };
}

Scenario refitted(int64_t candidates, int64_t topk, double temperature = 0.0) {
  return [=] {
    Random random(options().seed + 303);
    Fit f = random_fit(random, 2, 2, candidates, topk, 3);
    if (temperature > 0.0) f.spread = Spread::kPopulation;
    Fenced<float> actions(f.actions), returns(f.returns), mean(12), stddev(12), best(2);
    Fenced<int64_t> elites(2 * topk);
    Fenced<unsigned char> workspace(cuda::refit_workspace(2, topk), 8);
    const char* error =
        cuda::refit({2, 2, candidates, topk, 3, actions.data(), returns.data(), f.spread, f.epsilon,
                     temperature, mean.data(), stddev.data(), elites.data(), best.data()},
                    workspace.data(), nullptr);
    return std::string(error ? error : "");
  };
}

// A plan's refit whose blocks list more elites in a workspace than fit shared memory; `any`: by
// rank, too.
Scenario plan_refitted(int64_t candidates, int64_t topk, bool any) {
  return [=] {
    ModelSizes sizes{};
    sizes.action = 2;
    Random random(options().seed + 304);
    const Plan plan(sizes, 2, 2, candidates, topk, random);
    PlanCall call(plan);
    const PlanProblem& p = call.problem;
    Fenced<float> returns(random.normals(2 * candidates));
    cuda::PlanFitExtras extras{};
    extras.temperature = 0.5;
    const cuda::PlanFitExtras* more = any ? &extras : nullptr;
    const double bytes = cuda::plan_refit_workspace(p.horizon * sizes.action, p.batch, topk, more);
    Fenced<unsigned char> workspace(static_cast<int64_t>(bytes), 4);
    const cuda::ActionSource actions{nullptr, p.mean, p.stddev, p.low, p.high, p.seeds, 0};
    const char* error = cuda::launch_plan_refit(
        {p.horizon, p.batch, candidates, topk, sizes.action, actions, returns.data(), p.spread,
         p.epsilon, p.mean, p.stddev, p.best_return, p.action},
        more, workspace.data(), nullptr);
    return std::string(error ? error : "");
  };
}

// Runs the scenarios without each call in turn: "call in function" that nothing tells of, and how
// often.
std::map<std::string, int> survivors(const std::vector<Scenario>& scenarios) {
  cuda::emulator::take_ordering_calls();
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const cuda::emulator::JitterScope jitter(seed);
    for (const Scenario& scenario : scenarios) {
      const std::string error = scenario();
      CHECK_EQUAL(error, std::string());
      if (!error.empty()) return {};
    }
  }
  const cuda::emulator::Calls calls = cuda::emulator::take_ordering_calls();
  std::map<std::string, int> out;
  for (const auto& [name, where] : calls) {
    const cuda::emulator::WithoutCall without(where);
    std::string error;
    for (const Scenario& scenario : scenarios) {
      if (error = scenario(); !error.empty()) break;
    }
    if (options().verbose) printf("  without %s: %s\n", name.c_str(), error.c_str());
    if (error.empty()) ++out[name.substr(name.find(' ') + 1)];
  }
  note(std::to_string(calls.size()) + " calls");
  return out;
}

std::string text_of(const std::map<std::string, int>& calls) {
  std::string text;
  for (const auto& [name, count] : calls) text += name + " x" + std::to_string(count) + "; ";
  return text;
}

// What nothing tells of is listed in the tests, with a reason. No __syncwarp behind what one lane
// does alone is there for order: they bring the warp together for the instructions that follow.

PlanScenario small_plan(Variant variant, Precision precision) {
  return {variant, precision, kSmall, 3, 5, 0, 2};
}

}  // namespace

TEST("order: the persistent planner has what it needs, and needs what it has") {
  const Variant variant = Variant::kPersistent;
  const Precision fp16 = Precision::kFloat16;
  // The exact path's arrays reach the panel that others write first.
  const Shape many_actions{64, 32, 96, 64, {64, 64, 1}, true};
  const std::vector<Scenario> scenarios{planned(small_plan(variant, fp16)),
                                        planned({variant, fp16, kSmall, 5, 40, 9, 1}),
                                        planned({variant, fp16, many_actions, 1, 40, 9, 2})};
  const std::map<std::string, int> expected{
      {"__syncthreads in run", 1},  // of the exact path: the portable kernels need it
      {"__syncwarp in advance", 1},
      {"__syncwarp in share_octets", 1},
      {"__syncwarp in share_returns", 1}};
  CHECK_EQUAL(text_of(survivors(scenarios)), text_of(expected));
}

TEST("order: the portable kernels have what they need, and need what they have") {
  const Variant variant = Variant::kPortable;
  const Shape one_layer{12, 3, 2, 10, {1}, false};
  const std::vector<Scenario> scenarios{
      packed(),
      planned(small_plan(variant, Precision::kFloat16)),
      planned(small_plan(variant, Precision::kFloat32)),
      planned({variant, Precision::kFloat16, one_layer, 2, 40, 19, 2}),
      planned({variant, Precision::kFloat32, kSmall, 3, 5, 0, 2, kWritten}),
      planned({variant, Precision::kFloat32, kSmall, 2, 40, 0, 2, kWritten}),
      planned({variant, Precision::kFloat32, kSmall, 3, 5, 0, 2, kDrawn}),
      refitted(40, 5),
      refitted(300, 200),
      refitted(40, 5, 0.5)};
  const std::map<std::string, int> expected{
      {"__syncthreads in sort_keys", 1},  // promises more than its caller uses
      {"__syncwarp in run", 2}};          // keep loads where they are written
  CHECK_EQUAL(text_of(survivors(scenarios)), text_of(expected));
}

TEST("order: blocks have lists of their own where elites do not fit shared memory") {
  CHECK_EQUAL(refitted(4200, 4100)(), std::string());
  CHECK_EQUAL(plan_refitted(4200, 4100, false)(), std::string());
  CHECK_EQUAL(plan_refitted(4200, 4100, true)(), std::string());
}

TEST("order: plans on two streams do not share a workspace") {
  int streams[2];
  for (const Variant variant : {Variant::kPortable, Variant::kPersistent}) {
    Planned one(small_plan(variant, Precision::kFloat16)),
        other(small_plan(variant, Precision::kFloat16));
    const auto on_two_streams = [&](void* workspace) {
      cuda::emulator::synchronize();
      CHECK_EQUAL(one.run(nullptr, streams), std::string());
      return other.run(workspace, streams + 1);
    };
    CHECK_EQUAL(on_two_streams(other.workspace()), std::string());
    const std::string error = on_two_streams(one.workspace());
    CHECK(error.find("race") != std::string::npos);
    CHECK(error.find("a launch on another stream") != std::string::npos);
    cuda::emulator::synchronize();
  }
}

}  // namespace planet::tests
