#include "arguments.h"

#include <algorithm>

#include <cmath>

#include "model_tensors.h"

namespace planet {

namespace {

Tensor allocate(const Tensor& like, std::initializer_list<int64_t> shape, ScalarType type) {
  try {
    return torch::stable::new_empty(like, shape, type);
  } catch (const std::exception&) {  // torch's own words do not cross its stable ABI
    int64_t mebibytes = type == ScalarType::Float ? 4 : 1;
    for (const int64_t size : shape) mebibytes *= size;
    mebibytes >>= 20;
    fail("memory: could not allocate ", mebibytes, " MiB on ", Place(like).text(),
         "; expected that much to be free, so use fewer candidates or problems at once");
  }
}

}  // namespace

Tensor new_floats(const Tensor& like, std::initializer_list<int64_t> shape) {
  return allocate(like, shape, ScalarType::Float);
}

Tensor new_workspace(const Tensor& like, int64_t bytes) {
  return allocate(like, {bytes}, ScalarType::Byte);
}

ModelSizes model_sizes(const std::vector<int64_t>& sizes) {
  const int64_t layers = static_cast<int64_t>(sizes.size()) - 6;
  if (layers < 1 || layers > kMaxRewardLayers) {
    fail("sizes: expected [D, S, A, M, elu, clamp_stddev, reward widths...], got ",
         list_text(sizes));
  }
  ModelSizes out{};
  int* const fields[] = {&out.belief, &out.state, &out.action, &out.hidden};
  for (int i = 0; i < 4; ++i) {
    check_range("sizes", sizes[i], i == 0 ? 0 : 1, kMaxSize);
    *fields[i] = static_cast<int>(sizes[i]);
  }
  check_range("sizes (elu)", sizes[4], 0, 1);
  out.elu = sizes[4] != 0;
  check_range("sizes (clamp_stddev)", sizes[5], 0, 1);
  out.clamp_stddev = sizes[5] != 0;
  out.reward_layers = static_cast<int>(layers);
  for (int i = 0; i < layers; ++i) {
    check_range("sizes (reward widths)", sizes[6 + i], 1, i + 1 == layers ? 2 : kMaxSize);
    out.reward_widths[i] = static_cast<int>(sizes[6 + i]);
  }
  return out;
}

ModelWeights model_weights(const std::vector<Tensor>& tensors, const ModelSizes& sizes) {
  const int64_t count = (sizes.belief ? 10 : 6) + 2 * sizes.reward_layers;
  check_range("tensors", static_cast<int64_t>(tensors.size()), count, count);
  const Place place(tensors[0]);
  size_t next = 0;
  ModelWeights weights{};
  each_tensor(sizes, weights,
              [&](const char* name, int, int rows, int columns, const float*& pointer) {
                const Tensor& tensor = tensors[next++];
                pointer = columns > 0 ? floats(tensor, name, {rows, columns}, place)
                                      : floats(tensor, name, {rows}, place);
              });
  return weights;
}

Latent make_latent(const Tensor& belief, const Tensor& state, const ModelSizes& sizes,
                   int64_t batch, int64_t candidates, Place place) {
  if (belief.dim() == 3) {
    return {floats(belief, "belief", {batch, candidates, sizes.belief}, place),
            floats(state, "state", {batch, candidates, sizes.state}, place), true};
  }
  return {floats(belief, "belief", {batch, sizes.belief}, place),
          floats(state, "state", {batch, sizes.state}, place), false};
}

Spread make_spread(int64_t spread, int64_t topk, double epsilon) {
  check_range("spread", spread, 0, 1);
  if (spread == 1) check_range("topk", topk, 2, kMaxCount);
  if (!(std::isfinite(epsilon) && epsilon >= 0.0)) {
    fail("epsilon: expected a finite value >= 0, got ", epsilon);
  }
  return static_cast<Spread>(spread);
}

double make_temperature(std::optional<double> temperature, int64_t spread) {
  if (!temperature) return 0.0;
  if (!(std::isfinite(*temperature) && *temperature > 0.0)) {
    fail("temperature: expected a finite value > 0, got ", *temperature);
  }
  if (spread != 0) fail("temperature: expected none with this spread, got ", *temperature);
  return *temperature;
}

PlanProblem plan_settings(const std::vector<int64_t>& counts, int64_t topk, int64_t iterations,
                          int64_t first_iteration, int64_t spread, double epsilon, bool state_noise,
                          double discount, std::optional<double> budget_ms) {
  const auto length = static_cast<int64_t>(counts.size());
  check_range("iterations", iterations, 1, kMaxIteration + 1);
  check_range("first_iteration", first_iteration, 0, kMaxIteration + 1 - iterations);
  if (length != 1) check_range("candidates (length)", length, iterations, iterations);
  PlanProblem out{};
  int64_t least = kMaxCount;
  for (const int64_t count : counts) {
    check_range("candidates", count, 1, kMaxCount);
    out.candidates = std::max(out.candidates, count);
    least = std::min(least, count);
  }
  check_range("topk", topk, 1, least);
  out.counts = length == 1 ? nullptr : counts.data();
  out.topk = topk;
  out.iterations = iterations;
  out.first_iteration = first_iteration;
  out.spread = make_spread(spread, topk, epsilon);
  out.epsilon = epsilon;
  out.state_noise = state_noise;
  out.discount = discount;
  out.budget_ms = budget_ms.value_or(INFINITY);
  return out;
}

void relate(PlanProblem& problem, int64_t spread, int64_t keep, double momentum,
            std::optional<double> temperature, int64_t output) {
  check_range("keep", keep, 0, problem.topk);
  check_range("keep", keep, 0, kMaxCount - problem.candidates);
  check_range("output", output, 0, 1);
  if (!(momentum >= 0.0 && momentum < 1.0)) {
    fail("momentum: expected a value in [0, 1), got ", momentum);
  }
  problem.keep = keep;
  problem.momentum = momentum;
  problem.temperature = make_temperature(temperature, spread);
  problem.output = static_cast<Output>(output);
}

}  // namespace planet
