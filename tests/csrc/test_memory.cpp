// The core allocates nothing: the caller lends outputs and workspace.
#include <atomic>
#include <cstdlib>
#include <new>

#include "agent.h"
#include "calls.h"
#include "harness.h"
#include "planner.h"
#include "pools.h"
#include "random_filter.h"

namespace planet::tests {
namespace {

std::atomic<int64_t> allocations{0};

}  // namespace
}  // namespace planet::tests

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // those have their own
void* operator new(size_t size) {
  ++planet::tests::allocations;
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  ++planet::tests::allocations;
  return std::malloc(size ? size : 1);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
#endif

namespace planet::tests {

TEST("rollout, refit and plan allocate nothing") {
  Random random(options().seed + 50);
  const Shape shape{9, 4, 2, 11, {8, 1}, false};
  const RandomModel source(shape, random);
  for (const Kernels& kernels : all_kernels()) {
    const Scope scope(kernels.name());
    const PackedModel packed(source, kernels);
    const cpu::Model& model = packed.model;
    const Parallel pool = serial(3);
    const int64_t horizon = 3, batch = 2, candidates = 300, topk = 20, a = shape.action;
    const Plan inputs(model.sizes, horizon, batch, candidates, topk, random);
    PlanCall call(inputs);
    const PlanProblem& plan = call.problem;
    Fenced<float> actions(random.uniforms(horizon * batch * candidates * a, -1.0, 1.0));
    Fenced<float> returns(batch * candidates);
    Fenced<int64_t> elites(batch * topk);
    Fenced<uint64_t> keys(batch * candidates);
    Fenced<unsigned char> plan_space(cpu::plan_workspace(model, plan, pool.workers), 8);
    Fenced<float> space(cpu::rollout_workspace(model, batch, pool.workers));

    const int64_t before = allocations;
    cpu::rollout_returns(model, plan.latent, horizon, batch, candidates, actions.data(),
                         {nullptr, plan.seeds, 0, 0}, 1.0, returns.data(), space.data(), pool);
    cpu::refit({horizon, batch, candidates, topk, a, actions.data(), returns.data(), plan.spread,
                plan.epsilon, 0.0, plan.mean, plan.stddev, elites.data(), plan.best_return},
               keys.data(), pool);
    cpu::cem_plan(model, plan, plan_space.data(), pool);
    const int64_t made = allocations - before;
    CHECK_EQUAL(made, int64_t{0});
  }
}

TEST("a planner allocates nothing once it is made, cold or warm") {
  Random random(options().seed + 52);
  const RandomModel model(Shape{9, 4, 2, 11, {8, 1}, false}, random);
  for (const auto make : {icem_settings, mppi_settings}) {
    cpu::PlannerOptions options(make({}));
    options.batch = 2;
    options.threads = 3;
    std::string error;
    const auto planner =
        cpu::Planner::make({model.sizes, model.min_stddev, model.weights()}, options, error);
    CHECK_EQUAL(error, std::string());
    if (planner == nullptr) return;
    const Plan inputs(model.sizes, 12, 2, options.candidates, options.topk, random);

    const int64_t before = allocations;
    for (int64_t step = 0; step < 3; ++step) {
      planner->plan(inputs.belief.data(), inputs.state.data(), step);
      planner->shift();
      planner->cold(1);
    }
    const int64_t made = allocations - before;
    CHECK_EQUAL(made, int64_t{0});
  }
}

TEST("an agent allocates nothing once it is made") {
  Random random(options().seed + 51);
  const FilterShape shape{{9, 4, 2, 11, {8, 1}, false}, 9, 5, {{5, 3, 2}, {7, 2, 1}}};
  const RandomModel model(shape.model, random);
  const RandomFilter filter(shape, random);
  WeightView view{model.sizes, model.min_stddev, model.weights()};
  view.encoder = filter.encoder;
  view.filter = filter.weights();
  for (const Kernels& kernels : chosen_kernels()) {
    const Scope scope(kernels.name());
    cpu::AgentOptions options;
    options.batch = 2;
    options.threads = 3;
    options.horizon = 3;
    options.candidates = 60;
    options.topk = 9;
    options.isa = cpu::isa_name(kernels.isa);
    options.precision = kernels.precision;
    std::string error;
    const auto agent = cpu::Agent::make(view, options, error);
    CHECK_EQUAL(error, std::string());
    if (agent == nullptr) return;
    const Filtering inputs(model.sizes, filter.encoder, 2, random);
    Fenced<Span> spans(64);
    Timeline timeline{spans.data(), 64, 0};

    const int64_t before = allocations;
    for (int step = 0; step < 3; ++step) {
      agent->act(inputs.frames.data(), step == 1, step == 2 ? &timeline : nullptr);
      agent->executed(inputs.action.data());
      agent->reset_row(1, 5);
    }
    agent->reset(inputs.seeds.data());
    const int64_t made = allocations - before;
    CHECK_EQUAL(made, int64_t{0});
  }
}

}  // namespace planet::tests
