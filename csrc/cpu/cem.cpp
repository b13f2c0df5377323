// The cross-entropy method: one rollout job and one refit per iteration.
#include "../cem.h"

#include <algorithm>

#include "schedule.h"

namespace planet::cpu {
namespace {

// The parts of the workspace, each aligned to 64 bytes.
struct PlanWorkspace {
  uint64_t* keys;    // [B, J]
  int64_t* elites;   // [B, K]
  float* returns;    // [B, J]
  float* actions;    // [H, B, J, A]
  float* job;        // job_workspace(...)
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
    const double ranks = static_cast<double>(p.batch) * static_cast<double>(p.topk);
    const double values = rows * static_cast<double>(p.horizon) * model.sizes.action;
    keys = reinterpret_cast<uint64_t*>(take(rows, sizeof(uint64_t)));
    elites = reinterpret_cast<int64_t*>(take(ranks, sizeof(int64_t)));
    returns = reinterpret_cast<float*>(take(rows, sizeof(float)));
    actions = reinterpret_cast<float*>(take(values, sizeof(float)));
    job = reinterpret_cast<float*>(
        take(static_cast<double>(job_workspace(model, p.batch, workers)), sizeof(float)));
  }
};

Clock::time_point after(Clock::time_point start, double ms) {
  if (ms > 1e12) return kNoDeadline;
  return start +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(ms));
}

}  // namespace

int64_t plan_workspace(const Model& model, const PlanProblem& problem, int workers) {
  const double size = PlanWorkspace(model, problem, workers, nullptr).size;
  return size < 0x1p62 ? static_cast<int64_t>(size) : -1;
}

int64_t cem_plan(const Model& model, const PlanProblem& p, void* workspace,
                 const Parallel& parallel) {
  const Clock::time_point start = Clock::now(), deadline = after(start, p.budget_ms);
  const PlanWorkspace space(model, p, parallel.workers, workspace);
  StateNoise noise{};
  if (p.state_noise) noise.seeds = p.seeds;
  RolloutJob job =
      make_job(model, p.latent, p.horizon, p.batch, p.candidates, noise, p.discount, space.returns);
  job.actions = space.actions;
  job.mean = p.mean;
  job.stddev = p.stddev;
  job.low = p.low;
  job.high = p.high;
  job.action_seeds = p.seeds;
  prepare_prefixes(job, model, space.job, parallel);
  const RefitProblem fit{p.horizon,     p.batch,       p.candidates, p.topk,    model.sizes.action,
                         space.actions, space.returns, p.spread,     p.epsilon, p.mean,
                         p.stddev,      space.elites,  p.best_return};
  Clock::duration longest{0};
  for (int64_t done = 0; done < p.iterations; ++done) {
    const Clock::time_point began = Clock::now();
    if (done > 0 && began + longest > deadline) return done;
    if (done > 0 && p.stop && p.stop(p.stop_context)) return done;
    job.action_iteration = static_cast<uint32_t>(p.first_iteration + done);
    job.noise.iteration = job.action_iteration;
    // The first one always ends. A later one is given up when a core is taken away and time runs
    // out.
    if (!run_job(job, model, space.job, parallel, done > 0 ? deadline : kNoDeadline)) return done;
    refit(fit, space.keys, parallel);
    longest = std::max(longest, Clock::now() - began);
  }
  return p.iterations;
}

}  // namespace planet::cpu
