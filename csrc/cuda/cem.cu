// The cross-entropy method: per iteration the rollouts and one refit.
#include "../cem.h"

#include <stdint.h>

#include "cem_refit.h"
#include "persistent/plan.h"
#include "rollout_job.h"

namespace planet::cuda {
namespace {

// Offsets into the portable variant's workspace, multiples of 256 bytes.
struct PlanLayout {
  int64_t rollout = 0;
  int64_t returns = 0;  // float [B, J]
  int64_t refit = 0;
  int64_t size = 0;  // of it all; -1 if that overflows

  PlanLayout(const Model& model, const PlanProblem& p) {
    const double rows = static_cast<double>(p.batch) * static_cast<double>(p.candidates);
    take(rollout, rows < 0x1p52
                      ? static_cast<double>(rollout_workspace(model, p.batch, p.candidates))
                      : -1.0);
    take(returns, rows * sizeof(float));
    take(refit, plan_refit_workspace(p.horizon * model.sizes.action, p.batch, p.topk));
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
  float* returns = reinterpret_cast<float*>(workspace + layout.returns);
  for (int64_t i = 0; i < p.iterations; ++i) {
    const uint32_t iteration = static_cast<uint32_t>(p.first_iteration + i);
    const ActionSource actions{nullptr, p.mean, p.stddev, p.low, p.high, p.seeds, iteration};
    const StateNoise noise{nullptr, p.state_noise ? p.seeds : nullptr, iteration, 0};
    const char* error = launch_rollout(
        model, {p.latent, p.horizon, p.batch, p.candidates, actions, noise, p.discount, returns},
        workspace + layout.rollout, stream);
    if (error != nullptr) return error;
    error =
        launch_plan_refit({p.horizon, p.batch, p.candidates, p.topk, model.sizes.action, actions,
                           returns, p.spread, p.epsilon, p.mean, p.stddev, p.best_return},
                          workspace + layout.refit, stream);
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
