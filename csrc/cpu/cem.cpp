// Sampling planners: one rollout job and one refit per iteration.
#include "../cem.h"

#include <algorithm>
#include <cmath>

#include "elites.h"
#include "schedule.h"

namespace planet::cpu {
namespace {

// Whether an iteration's actions are written down; otherwise they are drawn where they are needed.
bool keeps_actions(const PlanProblem& p) {
  return p.mix != nullptr || p.keep > 0;
}

// The parts of the workspace, each aligned to 64 bytes.
struct PlanWorkspace {
  uint64_t* keys;    // [B, J + E]; once elites are selected, their weights as double [B, K]
  int64_t* elites;   // [B, K]
  float* returns;    // [B, J + E]
  float* actions;    // [H, B, J + E, A] where they are kept, else those of elites, [workers, K, A]
  float* normals;    // [workers, normals_of], where actions are kept
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
    const double batch = static_cast<double>(p.batch), actions_of = model.sizes.action;
    const double rows = batch * static_cast<double>(p.candidates + p.keep);
    const double elites_of_one = static_cast<double>(p.topk);
    const double kept = rows * static_cast<double>(p.horizon) * actions_of;
    const double drawn = elites_of_one * actions_of * workers;
    keys = reinterpret_cast<uint64_t*>(take(rows, sizeof(uint64_t)));
    elites = reinterpret_cast<int64_t*>(take(batch * elites_of_one, sizeof(int64_t)));
    returns = reinterpret_cast<float*>(take(rows, sizeof(float)));
    actions = reinterpret_cast<float*>(take(keeps_actions(p) ? kept : drawn, sizeof(float)));
    normals = reinterpret_cast<float*>(
        take(keeps_actions(p) ? normals_of(model, p) * workers : 0.0, sizeof(float)));
    job = reinterpret_cast<float*>(
        take(static_cast<double>(rollout_workspace(model, p.batch, workers)), sizeof(float)));
  }

  // Floats of a draw's normals, a multiple of 16.
  static double normals_of(const Model& model, const PlanProblem& p) {
    const int lanes = kernel_set(model).lanes;
    return (static_cast<double>(p.horizon) * model.sizes.action + 4.0) * (lanes < 16 ? 16 : lanes);
  }
};

// Runs the iterations of one call.
class Loop {
 public:
  Loop(const Model& model, const PlanProblem& problem, void* workspace, const Parallel& parallel)
      : p_(problem),
        model_(model),
        kernels_(kernel_set(model)),
        parallel_(parallel),
        space_(model, problem, parallel.workers, workspace) {
    StateNoise noise{};
    if (p_.state_noise) noise.seeds = p_.seeds;
    job_ = make_job(model, p_.latent, p_.horizon, p_.batch, p_.candidates, noise, p_.discount,
                    space_.returns);
    job_.mean = p_.mean;
    job_.stddev = p_.stddev;
    job_.low = p_.low;
    job_.high = p_.high;
    job_.action_seeds = p_.seeds;
    prepare_prefixes(job_, model, space_.job, parallel);
  }

  // Draws and scores; false if that was given up.
  bool score(int64_t done, Clock::time_point deadline) {
    drawn_ = p_.counts ? p_.counts[done] : p_.candidates;
    job_.candidates = drawn_ + p_.keep;
    job_.action_iteration = static_cast<uint32_t>(p_.first_iteration + done);
    job_.noise.iteration = job_.action_iteration;
    if (keeps_actions(p_)) {
      draw(done == 0);
      job_.actions = space_.actions;
    }
    if (!run_job(job_, model_, space_.job, parallel_, deadline)) return false;
    for (int64_t i = 0; i < p_.batch * p_.keep; ++i) {
      const int64_t row = i / p_.keep * job_.candidates + drawn_ + i % p_.keep;
      if (is_none(space_.actions + row * size())) space_.returns[row] = NAN;
    }
    return true;
  }

  void select() {
    for_each(parallel_, p_.batch, [&](int64_t b, int) {
      const float* returns = space_.returns + b * job_.candidates;
      int64_t* elites = space_.elites + b * p_.topk;
      uint64_t* keys = space_.keys + b * job_.candidates;
      select_elites(returns, job_.candidates, p_.topk, keys, elites);
      if (p_.temperature > 0.0) {
        weigh_elites(returns, elites, p_.topk, p_.temperature, reinterpret_cast<double*>(keys));
      }
      p_.best_return[b] = returns[elites[0]];
    });
  }

  // Refits mean and stddev, and writes kept sequences and action.
  void refit() {
    constexpr int64_t kDrawn = 3000;  // actions that occupy a worker: some 10 microseconds
    const int64_t tasks = p_.batch * p_.horizon;
    for_each(occupied(parallel_, tasks * p_.topk * size(), kDrawn), tasks,
             [&](int64_t task, int worker) { fit(task / p_.horizon, task % p_.horizon, worker); });
  }

 private:
  int size() const { return job_.sizes.action; }

  bool is_none(const float* first_action) const {
    return std::any_of(first_action, first_action + size(), [](float x) { return std::isnan(x); });
  }

  // Writes the actions of all candidates, and those of kept sequences behind them.
  void draw(bool first_iteration) {
    constexpr int64_t kNormals = 3000;
    const int64_t lanes = kernels_.lanes,
                  normals = static_cast<int64_t>(PlanWorkspace::normals_of(model_, p_));
    const int64_t blocks = (drawn_ + lanes - 1) / lanes, work = drawn_ * p_.horizon * size();
    const auto draw = [&](int64_t b, int64_t first, int64_t begin, int64_t end, const float* mix,
                          int worker) {
      kernels_.draw(job_, b, first, begin, end, mix, job_.candidates,
                    space_.normals + worker * normals, space_.actions);
    };
    for_each(occupied(parallel_, p_.batch * work, kNormals), p_.batch * blocks,
             [&](int64_t i, int worker) {
               draw(i / blocks, i % blocks * lanes, 0, drawn_, p_.mix, worker);
             });
    for (int64_t b = 0; p_.keep > 0 && b < p_.batch; ++b) {
      for (int64_t first = drawn_ / 4 * 4; first_iteration && first < job_.candidates;
           first += lanes) {
        draw(b, first, drawn_, job_.candidates, nullptr, 0);
      }
      for (int64_t e = 0; e < p_.keep; ++e) join(b, e, first_iteration);
    }
  }

  // Writes a kept sequence behind the candidates, where its open entries are drawn already.
  void join(int64_t b, int64_t e, bool first_iteration) {
    const bool none = is_none(p_.kept + (b * p_.keep + e) * size());
    for (int64_t t = 0; t < p_.horizon; ++t) {
      const int64_t problem = t * p_.batch + b;
      const float* from = p_.kept + (problem * p_.keep + e) * size();
      float* to = space_.actions + (problem * job_.candidates + drawn_ + e) * size();
      for (int a = 0; a < size(); ++a) {
        const int64_t bound = b * size() + a;
        if (none) {
          to[a] = NAN;
        } else if (!first_iteration) {
          to[a] = from[a];
        } else if (!std::isnan(from[a])) {
          to[a] = std::min(std::max(from[a], p_.low[bound]), p_.high[bound]);
        }
      }
    }
  }

  void fit(int64_t b, int64_t t, int worker) {
    const int64_t problem = t * p_.batch + b, out = problem * size();
    const int64_t* elites = space_.elites + b * p_.topk;
    const int64_t* rows = elites;
    float* actions = space_.actions;
    if (keeps_actions(p_)) {
      actions += problem * job_.candidates * size();
    } else {
      // The candidates' actions are not kept: those of the elites are drawn again.
      actions += worker * p_.topk * size();
      kernels_.redraw(job_, b, t, elites, p_.topk, actions);
      rows = nullptr;
    }
    FitRule rule{p_.topk, p_.spread, p_.epsilon, p_.momentum, nullptr};
    if (p_.temperature > 0.0) {
      rule.weights = reinterpret_cast<const double*>(space_.keys + b * job_.candidates);
    }
    fit_elites(rule, actions, size(), rows, p_.mean + out, p_.stddev + out);
    const auto elite = [&](int64_t k) { return actions + (rows ? rows[k] : k) * size(); };
    for (int64_t e = 0; e < p_.keep; ++e) {
      std::copy_n(elite(e), size(), p_.kept + (problem * p_.keep + e) * size());
    }
    if (t == 0) {
      std::copy_n(p_.output == Output::kBest ? elite(0) : p_.mean + out, size(), p_.action + out);
    }
  }

  const PlanProblem& p_;
  const Model& model_;
  const KernelSet& kernels_;
  const Parallel& parallel_;
  const PlanWorkspace space_;
  RolloutJob job_;
  int64_t drawn_ = 0;  // candidates of the iteration that were drawn
};

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
  Loop loop(model, p, workspace, parallel);
  Clock::duration longest{0};
  for (int64_t done = 0; done < p.iterations; ++done) {
    const Clock::time_point began = Clock::now();
    if (done > 0 && began + longest > deadline) return done;
    if (done > 0 && p.stop && p.stop(p.stop_context)) return done;
    const auto stage = [&](Stage name) { return StageMark(p.timeline, name, done); };
    {
      const StageMark mark = stage(Stage::kRollouts);
      // The first one always ends. A later one is given up when a core is taken away and time runs
      // out.
      if (!loop.score(done, done > 0 ? deadline : kNoDeadline)) return done;
    }
    {
      const StageMark mark = stage(Stage::kSelection);
      loop.select();
    }
    const StageMark mark = stage(Stage::kRefit);
    loop.refit();
    longest = std::max(longest, Clock::now() - began);
  }
  return p.iterations;
}

}  // namespace planet::cpu
