// The cross-entropy method: one rollout job and one refit per iteration.
#include "../cem.h"

#include <algorithm>

#include "elites.h"
#include "schedule.h"

namespace planet::cpu {
namespace {

// The parts of the workspace, each aligned to 64 bytes.
struct PlanWorkspace {
  uint64_t* keys;    // [B, J]
  int64_t* elites;   // [B, K]
  float* returns;    // [B, J]
  float* actions;    // [workers, K, A]
  float* job;        // rollout_workspace(...)
  double size = 64;  // in bytes; a double cannot overflow

  PlanWorkspace(const Model& model, const PlanProblem& p, int workers, void* base) {
    char* at = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(base) + 63) & ~uintptr_t{63});
    const auto take = [&](double count, double bytes) {
      char* here = at;
      const double rounded = (count * bytes + 63.0) / 64.0;
      size += 64.0 * (rounded + 1.0);
      if (size < 0x1p62) at += 64 * static_cast<int64_t>(rounded + 1.0);
      return here;
    };
    const double rows = static_cast<double>(p.batch) * static_cast<double>(p.candidates);
    const double elites_of_one = static_cast<double>(p.topk);
    const double ranks = static_cast<double>(p.batch) * elites_of_one;
    keys = reinterpret_cast<uint64_t*>(take(rows, sizeof(uint64_t)));
    elites = reinterpret_cast<int64_t*>(take(ranks, sizeof(int64_t)));
    returns = reinterpret_cast<float*>(take(rows, sizeof(float)));
    actions =
        reinterpret_cast<float*>(take(elites_of_one * model.sizes.action * workers, sizeof(float)));
    job = reinterpret_cast<float*>(
        take(static_cast<double>(rollout_workspace(model, p.batch, workers)), sizeof(float)));
  }
};

void select(const PlanProblem& p, const PlanWorkspace& space, const Parallel& parallel) {
  for_each(parallel, p.batch, [&](int64_t b, int) {
    const float* returns = space.returns + b * p.candidates;
    int64_t* elites = space.elites + b * p.topk;
    select_elites(returns, p.candidates, p.topk, space.keys + b * p.candidates, elites);
    p.best_return[b] = returns[elites[0]];
  });
}

// Refits mean and stddev. The candidates' actions are not kept: those of the elites are drawn
// again.
void refit(const PlanProblem& p, const PlanWorkspace& space, const RolloutJob& job,
           const KernelSet& kernels, const Parallel& parallel) {
  constexpr int64_t kDrawn = 3000;  // actions that occupy a worker: some 10 microseconds
  const int size = job.sizes.action;
  const int64_t tasks = p.batch * p.horizon;
  for_each(occupied(parallel, tasks * p.topk * size, kDrawn), tasks, [&](int64_t task, int worker) {
    const int64_t b = task / p.horizon, t = task % p.horizon, out = (t * p.batch + b) * size;
    float* actions = space.actions + worker * p.topk * size;
    kernels.redraw(job, b, t, space.elites + b * p.topk, p.topk, actions);
    fit_elites(actions, size, nullptr, p.topk, p.spread, p.epsilon, p.mean + out, p.stddev + out);
  });
}

Clock::time_point after(Clock::time_point start, double ms) {
  if (!(ms < 1e12)) return kNoDeadline;  // NaN has none, either
  const std::chrono::duration<double, std::milli> left(std::max(ms, 0.0));
  return start + std::chrono::duration_cast<Clock::duration>(left);
}

}  // namespace

int64_t plan_workspace(const Model& model, const PlanProblem& problem, int workers) {
  const double size = PlanWorkspace(model, problem, workers, nullptr).size;
  return size < 0x1p62 ? static_cast<int64_t>(size) : -1;
}

int64_t cem_plan(const Model& model, const PlanProblem& p, void* workspace,
                 const Parallel& parallel) {
  const StageMark whole(p.timeline, Stage::kPlan);
  const Clock::time_point start = Clock::now(), deadline = after(start, p.budget_ms);
  const PlanWorkspace space(model, p, parallel.workers, workspace);
  StateNoise noise{};
  if (p.state_noise) noise.seeds = p.seeds;
  RolloutJob job =
      make_job(model, p.latent, p.horizon, p.batch, p.candidates, noise, p.discount, space.returns);
  job.mean = p.mean;
  job.stddev = p.stddev;
  job.low = p.low;
  job.high = p.high;
  job.action_seeds = p.seeds;
  prepare_prefixes(job, model, space.job, parallel);
  Clock::duration longest{0};
  for (int64_t done = 0; done < p.iterations; ++done) {
    const Clock::time_point began = Clock::now();
    if (done > 0 && began + longest > deadline) return done;
    if (done > 0 && p.stop && p.stop(p.stop_context)) return done;
    job.action_iteration = static_cast<uint32_t>(p.first_iteration + done);
    job.noise.iteration = job.action_iteration;
    const auto stage = [&](Stage name) { return StageMark(p.timeline, name, done); };
    {
      const StageMark mark = stage(Stage::kRollouts);
      // The first one always ends. A later one is given up when a core is taken away and time runs
      // out.
      if (!run_job(job, model, space.job, parallel, done > 0 ? deadline : kNoDeadline)) return done;
    }
    {
      const StageMark mark = stage(Stage::kSelection);
      select(p, space, parallel);
    }
    const StageMark mark = stage(Stage::kRefit);
    refit(p, space, job, kernel_set(model), parallel);
    longest = std::max(longest, Clock::now() - began);
  }
  return p.iterations;
}

}  // namespace planet::cpu
