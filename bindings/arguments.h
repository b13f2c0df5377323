// Arguments that several ops take, checked and turned into what csrc takes; and new tensors.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <vector>

#include "cem.h"
#include "checks.h"

namespace planet {

constexpr int64_t kMaxCount = (int64_t{1} << 31) - 1;  // candidates; with 32-bit indices to spare
constexpr int64_t kMaxHorizon = 65535;
constexpr int64_t kMaxIteration = 65535;
constexpr int64_t kMaxParticle = 0xFFFFFFFF;

// float32 [shape...], where `like` is. This and the next fail with a message that begins with
// "memory" where there is too little of it.
Tensor new_floats(const Tensor& like, std::initializer_list<int64_t> shape);

// So many bytes of workspace, where `like` is.
Tensor new_workspace(const Tensor& like, int64_t bytes);

// From sizes = [D, S, A, M, elu, clamp_stddev, reward widths...].
ModelSizes model_sizes(const std::vector<int64_t>& sizes);

// From the tensors in the order of ModelWeights, without the GRU's if there is none.
ModelWeights model_weights(const std::vector<Tensor>& tensors, const ModelSizes& sizes);

// Shared starts [B, ...] or one per candidate [B, J, ...].
Latent make_latent(const Tensor& belief, const Tensor& state, const ModelSizes& sizes,
                   int64_t batch, int64_t candidates, Place place);

Spread make_spread(int64_t spread, int64_t topk, double epsilon);

double make_temperature(std::optional<double> temperature, int64_t spread);

// A plan's settings, without its size and tensors. counts: J of every iteration, or one for all;
// the problem points into it.
PlanProblem plan_settings(const std::vector<int64_t>& counts, int64_t topk, int64_t iterations,
                          int64_t first_iteration, int64_t spread, double epsilon, bool state_noise,
                          double discount, std::optional<double> budget_ms);

// Adds what makes relatives of the cross-entropy method, without its tensors.
void relate(PlanProblem& problem, int64_t spread, int64_t keep, double momentum,
            std::optional<double> temperature, int64_t output);

}  // namespace planet
