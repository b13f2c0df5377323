#include "cuda_plans.h"

#include <algorithm>

#include "normals.h"
#include "philox.h"

namespace planet::tests {
namespace {

// [B, J, dims] of time t in the plan's first iteration.
std::vector<float> table(const Plan& plan, Stream stream, int64_t t, int64_t dims) {
  Fenced<float> out(plan.batch * plan.candidates * dims);
  const NormalsCounter counter{stream, static_cast<uint32_t>(t),
                               static_cast<uint32_t>(plan.first_iteration), 0};
  CHECK(cuda::normals(plan.seeds.data(), plan.batch, counter, plan.candidates, dims, out.data(),
                      nullptr) == nullptr);
  return out.values();
}

}  // namespace

std::vector<float> drawn_actions(const Plan& plan, int64_t action_size) {
  std::vector<float> actions;
  for (int64_t t = 0; t < plan.horizon; ++t) {
    int64_t i = 0;
    for (const float normal : table(plan, kStreamActions, t, action_size)) {
      const int64_t of_bound = i / action_size / plan.candidates * action_size + i % action_size;
      const size_t bound = static_cast<size_t>(of_bound);
      const size_t value = static_cast<size_t>(t) * plan.low.size() + bound;
      const float product = plan.stddev[value] * normal;
      const float x = plan.mean[value] + product;
      actions.push_back(std::min(std::max(x, plan.low[bound]), plan.high[bound]));
      ++i;
    }
  }
  return actions;
}

Rollout rollout_of(const Plan& plan, const ModelSizes& sizes, Random& random) {
  Rollout out(sizes, plan.horizon, plan.batch, plan.candidates,
              plan.state_noise ? NoiseKind::kValues : NoiseKind::kNone, plan.per_candidate,
              plan.discount, random);
  out.belief = plan.belief;
  out.state = plan.state;
  out.actions = drawn_actions(plan, sizes.action);
  out.values.clear();
  for (int64_t t = 0; plan.state_noise && t < plan.horizon; ++t) {
    const std::vector<float> normals = table(plan, kStreamState, t, sizes.state);
    out.values.insert(out.values.end(), normals.begin(), normals.end());
  }
  return out;
}

}  // namespace planet::tests
