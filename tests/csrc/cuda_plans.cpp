#include "cuda_plans.h"

#include <algorithm>

#include "normals.h"
#include "philox.h"

namespace planet::tests {
namespace {

// [B, J, dims] of time t.
std::vector<float> table(const int64_t* seeds, int64_t batch, Stream stream, int64_t t,
                         uint32_t iteration, int64_t candidates, int64_t dims) {
  Fenced<float> out(batch * candidates * dims);
  CHECK(cuda::normals(seeds, batch, {stream, static_cast<uint32_t>(t), iteration, 0}, candidates,
                      dims, out.data(), nullptr) == nullptr);
  return out.values();
}

}  // namespace

std::vector<float> drawn_actions(const cuda::ActionSource& source, int64_t horizon, int64_t batch,
                                 int64_t candidates, int64_t action_size) {
  std::vector<float> actions;
  for (int64_t t = 0; t < horizon; ++t) {
    int64_t i = 0;
    for (const float normal :
         table(source.seeds, batch, kStreamActions, t, source.iteration, candidates, action_size)) {
      const int64_t bound = i / action_size / candidates * action_size + i % action_size;
      const int64_t value = t * batch * action_size + bound;
      const float product = source.stddev[value] * normal;
      const float x = source.mean[value] + product;
      actions.push_back(std::min(std::max(x, source.low[bound]), source.high[bound]));
      ++i;
    }
  }
  return actions;
}

Rollout rollout_of(const Plan& plan, const ModelSizes& sizes, Random& random) {
  const uint32_t iteration = static_cast<uint32_t>(plan.first_iteration);
  Rollout out(sizes, plan.horizon, plan.batch, plan.candidates,
              plan.state_noise ? NoiseKind::kValues : NoiseKind::kNone, plan.per_candidate,
              plan.discount, random);
  out.belief = plan.belief;
  out.state = plan.state;
  out.actions = drawn_actions({nullptr, plan.mean.data(), plan.stddev.data(), plan.low.data(),
                               plan.high.data(), plan.seeds.data(), iteration},
                              plan.horizon, plan.batch, plan.candidates, sizes.action);
  out.values.clear();
  for (int64_t t = 0; plan.state_noise && t < plan.horizon; ++t) {
    for (const float x : table(plan.seeds.data(), plan.batch, kStreamState, t, iteration,
                               plan.candidates, sizes.state)) {
      out.values.push_back(x);
    }
  }
  return out;
}

}  // namespace planet::tests
