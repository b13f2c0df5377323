// Cuts rollouts into panels and lets the workers take them one by one.
#include "../rollout.h"

#include <algorithm>
#include <atomic>

#include "schedule.h"

namespace planet::cpu {
namespace {

int64_t round_up(int64_t floats) {
  return (floats + 15) / 16 * 16;
}

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Vectors per panel: wide panels are efficient, narrow ones occupy all workers when there are few
// candidates. Picks the width with the least estimated time; results do not depend on it.
int panel_vectors(const KernelSet& kernels, int64_t batch, int64_t candidates, int workers) {
  // Relative time of a panel of 1, 2, 3, 4 vectors (a narrow one waits on multiply-add latency).
  constexpr double kTime[] = {0.0, 1.3, 2.2, 3.1, 4.0};
  const int64_t vectors = divide_up(candidates, kernels.lanes);
  int best = 1;
  double least = 0.0;
  for (int width = kernels.max_vectors; width >= 1; --width) {
    const double time = divide_up(batch * divide_up(vectors, width), workers) * kTime[width];
    if (width == kernels.max_vectors || time < least) best = width, least = time;
  }
  return best;
}

struct Work {
  const RolloutJob& job;
  const KernelSet& kernels;
  float* prefixes;
  float* scratch;
  int64_t scratch_stride;
  int64_t panels;  // per problem
  int vectors;     // per panel, fewer in the last one of a problem
  std::atomic<int64_t> next;
  Clock::time_point deadline = kNoDeadline;
  std::atomic<bool> late = false;
};

void prefix_worker(void* context, int worker) {
  Work& work = *static_cast<Work*>(context);
  float* scratch = work.scratch + worker * work.scratch_stride;
  for (int64_t b; (b = work.next.fetch_add(1)) < work.job.batch;) {
    work.kernels.prefix(work.job, b, work.prefixes + b * work.job.layout.prefix_total, scratch);
  }
}

void panel_worker(void* context, int worker) {
  Work& work = *static_cast<Work*>(context);
  const RolloutJob& job = work.job;
  float* scratch = work.scratch + worker * work.scratch_stride;
  const int64_t width = static_cast<int64_t>(work.vectors) * work.kernels.lanes;
  const auto time = [&] {
    return work.deadline == kNoDeadline ? Clock::time_point{} : Clock::now();
  };
  Clock::time_point now = time();
  Clock::duration panel_time{0};
  for (int64_t i; (i = work.next.fetch_add(1)) < job.batch * work.panels;) {
    if (now + panel_time > work.deadline) {
      work.late = true;
      return;
    }
    const int64_t problem = i / work.panels, first = i % work.panels * width;
    const int64_t left = divide_up(job.candidates - first, work.kernels.lanes);
    const int vectors = static_cast<int>(std::min<int64_t>(work.vectors, left));
    work.kernels.panel(job, problem, first, vectors, scratch);
    panel_time = time() - now;
    now += panel_time;
  }
}

int64_t prefix_floats(const Model& model, int64_t batch) {
  return round_up(batch * packed_layout(model.sizes, kernel_set(model)).prefix_total);
}

int64_t scratch_floats(const Model& model) {
  return round_up(kernel_set(model).scratch(model.sizes));
}

}  // namespace

RolloutJob make_job(const Model& model, const Latent& latent, int64_t horizon, int64_t batch,
                    int64_t candidates, const StateNoise& noise, double discount, float* returns) {
  RolloutJob job{};
  job.sizes = model.sizes;
  job.layout = packed_layout(model.sizes, kernel_set(model));
  job.packed = static_cast<const float*>(model.packed);
  job.stddev_floor = stddev_floor(model.sizes, model.min_stddev);
  job.horizon = horizon;
  job.batch = batch;
  job.candidates = candidates;
  job.latent = latent;
  job.noise = noise;
  job.discount = discount;
  job.returns = returns;
  return job;
}

void prepare_prefixes(RolloutJob& job, const Model& model, float* workspace,
                      const Parallel& parallel) {
  if (job.latent.per_candidate || kernel_set(model).prefix == nullptr) return;
  float* base = align_floats(workspace);
  Work work{job,
            kernel_set(model),
            base,
            base + prefix_floats(model, job.batch),
            scratch_floats(model),
            0,
            0,
            {0}};
  const int workers = static_cast<int>(std::min<int64_t>(parallel.workers, job.batch));
  parallel.run(parallel.pool, workers, prefix_worker, &work);
  job.prefix = base;
}

bool run_job(const RolloutJob& job, const Model& model, float* workspace, const Parallel& parallel,
             Clock::time_point deadline) {
  const KernelSet& kernels = kernel_set(model);
  float* scratch = align_floats(workspace) + prefix_floats(model, job.batch);
  const int vectors = panel_vectors(kernels, job.batch, job.candidates, parallel.workers);
  const int64_t panels = divide_up(divide_up(job.candidates, kernels.lanes), vectors);
  Work work{job, kernels, nullptr, scratch, scratch_floats(model), panels, vectors, {0}, deadline};
  const int workers = static_cast<int>(std::min<int64_t>(parallel.workers, job.batch * panels));
  parallel.run(parallel.pool, workers, panel_worker, &work);
  return !work.late;
}

int64_t rollout_workspace(const Model& model, int64_t batch, int workers) {
  return 16 + prefix_floats(model, batch) + workers * scratch_floats(model);
}

void rollout_returns(const Model& model, const Latent& latent, int64_t horizon, int64_t batch,
                     int64_t candidates, const float* actions, const StateNoise& noise,
                     double discount, float* returns, float* workspace, const Parallel& parallel) {
  RolloutJob job = make_job(model, latent, horizon, batch, candidates, noise, discount, returns);
  job.actions = actions;
  prepare_prefixes(job, model, workspace, parallel);
  run_job(job, model, workspace, parallel);
}

}  // namespace planet::cpu
