// Sampling planners: per iteration the rollouts and one refit; before them, where rollouts do not
// draw the actions themselves, these.
#include "../cem.h"

#include <stdint.h>

#include "cem_actions.h"
#include "cem_refit.h"
#include "persistent/plan.h"
#include "rollout_job.h"

namespace planet::cuda {
namespace {

// Whether rollouts read actions that were written before.
bool writes_actions(const PlanProblem& p) {
  return p.mix != nullptr || p.keep > 0;
}

// Whether a refit is that of the plain method.
bool fits_plainly(const PlanProblem& p) {
  return !writes_actions(p) && p.momentum == 0.0 && p.temperature == 0.0 &&
         p.output == Output::kMean;
}

PlanFitExtras extras_of(const PlanProblem& p, const uint32_t* open) {
  return {p.momentum, p.temperature, p.output, p.keep, open, p.kept};
}

// Offsets into the portable variant's workspace, multiples of 256 bytes.
struct PlanLayout {
  int64_t rollout = 0;
  int64_t returns = 0;  // float [B, J + E]
  int64_t refit = 0;
  int64_t actions = 0;  // float [H, B, J + E, A], where rollouts read them
  int64_t open = 0;     // uint32 [B, E]
  int64_t size = 0;     // of it all; -1 if that overflows

  PlanLayout(const Model& model, const PlanProblem& p) {
    const int64_t values = p.horizon * model.sizes.action, candidates = p.candidates + p.keep;
    const double batch = static_cast<double>(p.batch);
    const double rows = batch * static_cast<double>(candidates);
    const PlanFitExtras extras = extras_of(p, nullptr);
    take(rollout,
         rows < 0x1p52 ? static_cast<double>(rollout_workspace(model, p.batch, candidates)) : -1.0);
    take(returns, rows * sizeof(float));
    take(refit, plan_refit_workspace(values, p.batch, p.topk, fits_plainly(p) ? nullptr : &extras));
    if (!writes_actions(p)) return;
    take(actions, rows * static_cast<double>(values) * sizeof(float));
    take(open, batch * static_cast<double>(p.keep) * sizeof(uint32_t));
  }

 private:
  void take(int64_t& offset, double bytes) {
    offset = size;
    if (size < 0 || bytes < 0.0 || static_cast<double>(size) + bytes > 0x1p62) {
      size = -1;
    } else {
      size += (static_cast<int64_t>(bytes) + 255) / 256 * 256;
    }
  }
};

const char* portable_plan(const Model& model, const PlanProblem& p, char* workspace, void* stream) {
  const PlanLayout layout(model, p);
  const int64_t size = model.sizes.action;
  float* returns = reinterpret_cast<float*>(workspace + layout.returns);
  float* values = reinterpret_cast<float*>(workspace + layout.actions);
  uint32_t* open = reinterpret_cast<uint32_t*>(workspace + layout.open);
  const PlanFitExtras extras = extras_of(p, open);
  for (int64_t i = 0; i < p.iterations; ++i) {
    const uint32_t iteration = static_cast<uint32_t>(p.first_iteration + i);
    const int64_t drawn = p.counts ? p.counts[i] : p.candidates, candidates = drawn + p.keep;
    ActionSource actions{nullptr, p.mean, p.stddev, p.low, p.high, p.seeds, iteration};
    const StateNoise noise{nullptr, p.state_noise ? p.seeds : nullptr, iteration, 0};
    const char* error = nullptr;
    if (writes_actions(p)) {
      error = launch_plan_actions(
          {p.horizon, p.batch, size, drawn, p.keep, actions, p.mix, p.kept, values, open}, stream);
      if (error != nullptr) return error;
      actions.values = values;
    }
    error = launch_rollout(
        model, {p.latent, p.horizon, p.batch, candidates, actions, noise, p.discount, returns},
        workspace + layout.rollout, stream);
    if (error != nullptr) return error;
    error =
        launch_plan_refit({p.horizon, p.batch, candidates, p.topk, size, actions, returns, p.spread,
                           p.epsilon, p.mean, p.stddev, p.best_return, p.action},
                          fits_plainly(p) ? nullptr : &extras, workspace + layout.refit, stream);
    if (error != nullptr) return error;
  }
  return nullptr;
}

}  // namespace

const char* plan_refusal(const Model& model, const PlanProblem& problem, Variant variant) {
  return variant == Variant::kPersistent ? persistent_refusal(model, problem) : nullptr;
}

int64_t plan_workspace(const Model& model, const PlanProblem& problem, Variant variant) {
  return variant == Variant::kPersistent ? persistent_workspace(model, problem)
                                         : PlanLayout(model, problem).size;
}

const char* cem_plan(const Model& model, const PlanProblem& problem, Variant variant,
                     void* workspace, void* stream) {
  return variant == Variant::kPersistent
             ? persistent_plan(model, problem, workspace, stream)
             : portable_plan(model, problem, static_cast<char*>(workspace), stream);
}

}  // namespace planet::cuda
