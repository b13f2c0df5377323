// The core allocates nothing: the caller lends outputs and workspace.
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>

#include "calls.h"
#include "harness.h"
#include "pools.h"

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
    Fenced<float> belief(random.uniforms(batch * shape.belief, -1.0, 1.0));
    Fenced<float> state(random.normals(batch * shape.state));
    Fenced<float> low(std::vector<float>(4, -1.0f)), high(std::vector<float>(4, 1.0f));
    Fenced<float> mean(std::vector<float>(static_cast<size_t>(horizon * batch * a), 0.0f));
    Fenced<float> stddev(std::vector<float>(static_cast<size_t>(horizon * batch * a), 1.0f));
    Fenced<float> best(batch), returns(batch * candidates);
    Fenced<float> actions(random.uniforms(horizon * batch * candidates * a, -1.0, 1.0));
    Fenced<int64_t> seeds(std::vector<int64_t>{1, 2}), elites(batch * topk);
    Fenced<uint64_t> keys(batch * candidates);
    PlanProblem plan{};
    plan.horizon = horizon, plan.batch = batch, plan.candidates = candidates, plan.topk = topk;
    plan.iterations = 3;
    plan.latent = {belief.data(), state.data(), false};
    plan.seeds = seeds.data();
    plan.low = low.data(), plan.high = high.data();
    plan.epsilon = 1e-6, plan.discount = 1.0, plan.state_noise = true, plan.budget_ms = INFINITY;
    plan.mean = mean.data(), plan.stddev = stddev.data(), plan.best_return = best.data();
    Fenced<unsigned char> plan_space(cpu::plan_workspace(model, plan, pool.workers), 8);
    Fenced<float> space(cpu::rollout_workspace(model, batch, pool.workers));

    const int64_t before = allocations;
    cpu::rollout_returns(model, plan.latent, horizon, batch, candidates, actions.data(),
                         {nullptr, seeds.data(), 0, 0}, 1.0, returns.data(), space.data(), pool);
    cpu::refit({horizon, batch, candidates, topk, a, actions.data(), returns.data(),
                Spread::kPopulation, 1e-6, mean.data(), stddev.data(), elites.data(), best.data()},
               keys.data(), pool);
    cpu::cem_plan(model, plan, plan_space.data(), pool);
    const int64_t made = allocations - before;
    CHECK_EQUAL(made, int64_t{0});
  }
}

}  // namespace planet::tests
