// The cross-entropy method: one rollout job and one refit per iteration.
#include "../cem.h"

#include <algorithm>
#include <chrono>

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

double elapsed_ms(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since)
      .count();
}

}  // namespace

int64_t plan_workspace(const Model& model, const PlanProblem& problem, int workers) {
  const double size = PlanWorkspace(model, problem, workers, nullptr).size;
  return size < 0x1p62 ? static_cast<int64_t>(size) : -1;
}

int64_t cem_plan(const Model& model, const PlanProblem& p, void* workspace,
                 const Parallel& parallel) {
  const auto start = std::chrono::steady_clock::now();
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
  double longest = 0.0;
  for (int64_t done = 0; done < p.iterations; ++done) {
    const double began = elapsed_ms(start);
    if (done > 0 && began + longest > p.budget_ms) return done;
    if (done > 0 && p.stop && p.stop(p.stop_context)) return done;
    job.action_iteration = static_cast<uint32_t>(p.first_iteration + done);
    job.noise.iteration = job.action_iteration;
    run_job(job, model, space.job, parallel);
    refit(fit, space.keys, parallel);
    longest = std::max(longest, elapsed_ms(start) - began);
  }
  return p.iterations;
}

}  // namespace planet::cpu
