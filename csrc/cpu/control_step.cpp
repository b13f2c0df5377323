// Filter, plan and explore, one after the other.
#include "../control_step.h"

#include <algorithm>
#include <cmath>

#include "../normals.h"
#include "../philox.h"
#include "../seeds.h"

namespace planet::cpu {
namespace {

// The seeds lie before what filter and plan use by turns.
int64_t seed_bytes(int64_t batch) {
  return (batch * static_cast<int64_t>(sizeof(int64_t)) + 63) / 64 * 64;
}

void start_plan(const ControlStep& step) {
  const int size = step.model.sizes.action;
  for (int64_t b = 0; b < step.plan.batch; ++b) {
    if (step.start.shift == Shift::kNone || step.steps[b] == 0) {
      start_cold(step.plan, size, step.start, b);
    } else {
      start_warm(step.plan, size, step.start, 1, b);
    }
  }
}

// The bits of torch's clamp(action + stddev * normal * half).
void explore(const ControlStep& step, const int64_t* seeds) {
  const int size = step.model.sizes.action;
  float normal[kMaxSize];
  for (int64_t b = 0; b < step.plan.batch; ++b) {
    normals(step.filter.isa, seeds[b], {kStreamExploration, 0, 0, 0}, 1, size, normal);
    for (int a = 0; a < size; ++a) {
      const int64_t i = b * size + a;
      const float low = step.plan.low[i], high = step.plan.high[i];
      const auto half = static_cast<float>((static_cast<double>(high) - low) / 2);
      const float moved = step.action[i] + step.exploration_stddev * normal[a] * half;
      step.action[i] = std::isnan(moved) ? moved : std::min(std::max(moved, low), high);
    }
  }
}

bool all_finite(const float* values, int64_t count) {
  return std::all_of(values, values + count, [](float x) { return std::isfinite(x); });
}

void judge(const ControlStep& step) {
  const ModelSizes& sizes = step.model.sizes;
  const int64_t size = sizes.action, batch = step.plan.batch;
  for (int64_t b = 0; b < batch; ++b) {
    bool finite = all_finite(step.filtered.next_belief + b * sizes.belief, sizes.belief) &&
                  all_finite(step.filtered.next_state + b * sizes.state, sizes.state) &&
                  all_finite(step.action + b * size, size) &&
                  std::isfinite(step.plan.best_return[b]);
    for (int64_t t = 0; t < step.plan.horizon; ++t) {
      finite = finite && all_finite(step.plan.mean + (t * batch + b) * size, size);
    }
    step.finite[b] = finite;
  }
}

}  // namespace

int64_t control_step_workspace(const ControlStep& step, int workers) {
  const int64_t plan = plan_workspace(step.model, step.plan, workers);
  const int64_t filter = filter_step_workspace(step.filter, step.plan.batch, workers);
  if (plan < 0 || filter < 0) return -1;
  return seed_bytes(step.plan.batch) + std::max(plan, filter);
}

int64_t control_step(const ControlStep& step, void* workspace, const Parallel& parallel,
                     Timeline* timeline) {
  const int64_t batch = step.plan.batch;
  auto* seeds = static_cast<int64_t*>(workspace);
  void* rest = static_cast<char*>(workspace) + seed_bytes(batch);
  for (int64_t b = 0; b < batch; ++b) {
    seeds[b] = mix_seed(step.episode_seeds[b], static_cast<uint64_t>(step.steps[b]));
  }
  FilterStep filtered = step.filtered;
  filtered.batch = batch;
  filtered.seeds = seeds;
  filter_step(step.filter, filtered, rest, parallel, timeline);

  PlanProblem plan = step.plan;
  plan.latent = {filtered.next_belief, filtered.next_state, false};
  plan.seeds = seeds;
  plan.timeline = timeline;
  start_plan(step);
  const int64_t iterations = cem_plan(step.model, plan, rest, parallel);

  const StageMark mark(timeline, Stage::kExplore);
  std::copy_n(plan.action, batch * step.model.sizes.action, step.action);
  if (step.explore) explore(step, seeds);
  judge(step);
  return iterations;
}

}  // namespace planet::cpu
