// Spreads work over workers; rollouts are shared by rollout_returns and cem_plan.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>

#include "panel.h"

namespace planet::cpu {

// Rounds a float pointer up to a cache line.
inline float* align_floats(float* p) {
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + 63) & ~uintptr_t{63});
}

// Calls body(i, worker) for every i below `count`, on all workers.
template <class Body>
void for_each(const Parallel& parallel, int64_t count, const Body& body) {
  struct Work {
    const Body& body;
    int64_t count;
    std::atomic<int64_t> next;
  } work{body, count, {0}};
  const auto run = [](void* context, int worker) {
    Work& mine = *static_cast<Work*>(context);
    for (int64_t i; (i = mine.next.fetch_add(1)) < mine.count;) mine.body(i, worker);
  };
  parallel.run(parallel.pool, static_cast<int>(std::min<int64_t>(parallel.workers, count)), run,
               &work);
}

// As many of the workers as so much work occupies, when `share` of it is worth one more: waking
// them costs microseconds, and waiting for one whose core is taken away costs milliseconds.
inline Parallel occupied(const Parallel& parallel, int64_t work, int64_t share) {
  const int64_t workers = std::min<int64_t>(parallel.workers, 1 + work / share);
  return {static_cast<int>(workers), parallel.run, parallel.pool};
}

// Everything of a job that follows from the model.
RolloutJob make_job(const Model& model, const Latent& latent, int64_t horizon, int64_t batch,
                    int64_t candidates, const StateNoise& noise, double discount, float* returns);

// Fills the prefixes of all problems into the front of `workspace` (rollout_workspace floats) and
// sets job.prefix; nothing to do when every candidate has its own start. The prefixes stay valid
// while model and latent do.
void prepare_prefixes(RolloutJob& job, const Model& model, float* workspace,
                      const Parallel& parallel);

using Clock = std::chrono::steady_clock;
constexpr Clock::time_point kNoDeadline = Clock::time_point::max();

// Rolls out every candidate of every problem. Gives up and returns false, with some returns
// missing, once another panel as long as a worker's last one would not be done before the deadline.
bool run_job(const RolloutJob& job, const Model& model, float* workspace, const Parallel& parallel,
             Clock::time_point deadline = kNoDeadline);

}  // namespace planet::cpu
