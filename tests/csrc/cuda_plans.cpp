#include "cuda_plans.h"

#include <algorithm>
#include <cmath>

#include "normals.h"
#include "philox.h"
#include "pools.h"

namespace planet::tests {
namespace {

// [B, count, dims] of time t in the plan's first iteration.
std::vector<float> table(const Plan& plan, Stream stream, int64_t t, int64_t count, int64_t dims) {
  Fenced<float> out(plan.batch * count * dims);
  const NormalsCounter counter{stream, static_cast<uint32_t>(t),
                               static_cast<uint32_t>(plan.first_iteration), 0};
  CHECK(cuda::normals(plan.seeds.data(), plan.batch, counter, count, dims, out.data(), nullptr) ==
        nullptr);
  return out.values();
}

int64_t first_count(const Plan& plan) {
  return plan.counts.empty() ? plan.candidates : plan.counts[0];
}

float kept_value(const Plan& plan, int64_t size, int64_t t, int64_t b, int64_t e, int64_t a) {
  return plan.kept[static_cast<size_t>(((t * plan.batch + b) * plan.keep + e) * size + a)];
}

bool is_none(const Plan& plan, int64_t size, int64_t b, int64_t e) {
  for (int64_t a = 0; a < size; ++a) {
    if (std::isnan(kept_value(plan, size, 0, b, e, a))) return true;
  }
  return false;
}

}  // namespace

std::vector<float> drawn_actions(const Plan& plan, int64_t action_size) {
  const int64_t drawn = first_count(plan), count = drawn + plan.keep, h = plan.horizon;
  std::vector<std::vector<float>> normals;
  for (int64_t t = 0; t < h; ++t) {
    normals.push_back(table(plan, kStreamActions, t, count, action_size));
  }
  std::vector<float> actions;
  const auto add = [&](int64_t t, int64_t b, int64_t j, int64_t a) {
    const size_t i = static_cast<size_t>((b * count + j) * action_size + a);
    const size_t bound = static_cast<size_t>(b * action_size + a);
    const size_t value = static_cast<size_t>(t) * plan.low.size() + bound;
    float normal = normals[static_cast<size_t>(t)][i];
    if (j < drawn && !plan.mix.empty()) {
      normal = 0.0f;
      for (int64_t u = 0; u < h; ++u) {
        const float share = plan.mix[static_cast<size_t>(t * h + u)];
        const float product = share * normals[static_cast<size_t>(u)][i];
        normal += product;
      }
    }
    const float product = plan.stddev[value] * normal;
    float x = plan.mean[value] + product;
    if (j >= drawn) {
      const float kept = kept_value(plan, action_size, t, b, j - drawn, a);
      if (!std::isnan(kept)) x = kept;
      if (is_none(plan, action_size, b, j - drawn)) return actions.push_back(NAN);
    }
    actions.push_back(std::min(std::max(x, plan.low[bound]), plan.high[bound]));
  };
  for (int64_t t = 0; t < h; ++t) {
    for (int64_t b = 0; b < plan.batch; ++b) {
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t a = 0; a < action_size; ++a) add(t, b, j, a);
      }
    }
  }
  return actions;
}

Rollout rollout_of(const Plan& plan, const ModelSizes& sizes, Random& random) {
  const int64_t count = first_count(plan) + plan.keep;
  Rollout out(sizes, plan.horizon, plan.batch, count,
              plan.state_noise ? NoiseKind::kValues : NoiseKind::kNone, plan.per_candidate,
              plan.discount, random);
  out.belief = plan.belief;
  out.state = plan.state;
  out.actions = drawn_actions(plan, sizes.action);
  out.values.clear();
  for (int64_t t = 0; plan.state_noise && t < plan.horizon; ++t) {
    const std::vector<float> normals = table(plan, kStreamState, t, count, sizes.state);
    out.values.insert(out.values.end(), normals.begin(), normals.end());
  }
  return out;
}

PlanResult refitted(const Plan& plan, int64_t size, const std::vector<float>& actions,
                    std::vector<float> returns) {
  const int64_t drawn = first_count(plan), count = drawn + plan.keep;
  for (int64_t i = 0; i < plan.batch * plan.keep; ++i) {
    const int64_t b = i / plan.keep, e = i % plan.keep;
    if (is_none(plan, size, b, e)) returns[static_cast<size_t>(b * count + drawn + e)] = NAN;
  }
  const FitResult fit = run_refit({plan.horizon, plan.batch, count, plan.topk, size, plan.spread,
                                   plan.epsilon, actions, std::move(returns), plan.temperature},
                                  serial(1));
  const auto blend = [&](std::vector<float> before, const std::vector<float>& fitted) {
    for (size_t i = 0; i < before.size(); ++i) {
      before[i] = static_cast<float>(plan.momentum * before[i] + (1.0 - plan.momentum) * fitted[i]);
    }
    return before;
  };
  PlanResult out{1, blend(plan.mean, fit.mean), blend(plan.stddev, fit.stddev), fit.best, {}, {}};
  const auto elite = [&](int64_t t, int64_t b, int64_t k, int64_t a) {
    const int64_t j = fit.elites[static_cast<size_t>(b * plan.topk + k)];
    return actions[static_cast<size_t>(((t * plan.batch + b) * count + j) * size + a)];
  };
  for (int64_t b = 0; b < plan.batch; ++b) {
    for (int64_t a = 0; a < size; ++a) out.action.push_back(elite(0, b, 0, a));
  }
  for (int64_t i = 0; i < plan.horizon * plan.batch * plan.keep * size; ++i) {
    const int64_t row = i / size / plan.keep;
    out.kept.push_back(elite(row / plan.batch, row % plan.batch, i / size % plan.keep, i % size));
  }
  return out;
}

void check_refitted(const PlanResult& got, const PlanResult& wanted, const Plan& plan) {
  CHECK(same_bits(got.best, wanted.best));
  CHECK(same_bits(got.kept, wanted.kept));
  const std::vector<float> first(got.mean.begin(),
                                 got.mean.begin() + static_cast<int64_t>(plan.low.size()));
  CHECK(same_bits(got.action, plan.output == Output::kBest ? wanted.action : first));
  const float rounded = plan.momentum > 0.0 ? 1.2e-7f : 1e-12f;  // before it was blended
  const auto close = [=](const std::vector<float>& a, const std::vector<float>& b) {
    for (size_t i = 0; i < b.size(); ++i) {
      CHECK_AT_MOST(std::abs(a[i] - b[i]), 1.2e-7f * std::abs(b[i]) + rounded);
    }
  };
  close(got.mean, wanted.mean);
  close(got.stddev, wanted.stddev);
}

}  // namespace planet::tests
