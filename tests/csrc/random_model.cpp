#include "random_model.h"

#include <algorithm>
#include <cmath>

#include "model_tensors.h"
#include "rollout.h"

namespace planet::tests {
namespace {

constexpr double kPi = 3.14159265358979323846;

cpu::Isa taught = -1;

}  // namespace

uint64_t Random::next() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

double Random::uniform(double low, double high) {
  return low + (high - low) * (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53;
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(uniform(0.0, 1.0)));
  return radius * std::cos(2.0 * kPi * uniform(0.0, 1.0));
}

int64_t Random::integer(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
}

std::vector<float> Random::uniforms(int64_t count, double low, double high) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = static_cast<float>(uniform(low, high));
  return out;
}

std::vector<float> Random::normals(int64_t count) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = static_cast<float>(normal());
  return out;
}

ModelSizes Shape::sizes() const {
  ModelSizes out{belief, state, action,      hidden, static_cast<int>(reward.size()),
                 {},     elu,   clamp_stddev};
  for (size_t i = 0; i < reward.size(); ++i) out.reward_widths[i] = reward[i];
  return out;
}

std::string Shape::name() const {
  std::string text = "D " + show(belief) + ", S " + show(state) + ", A " + show(action) + ", M " +
                     show(hidden) + ", reward";
  for (const int width : reward) text += " " + show(width);
  return text + (elu ? ", elu" : ", relu") + (clamp_stddev ? ", clamp" : "");
}

std::vector<Shape> small_shapes() {
  return {{1, 1, 1, 1, {1}, false},
          {7, 3, 2, 9, {5, 1}, false},
          {20, 6, 1, 17, {16, 8, 1}, true, true},
          {33, 5, 3, 30, {12, 9, 7, 1}, false, true},
          {16, 4, 6, 64, {1}, true},
          {1, 30, 21, 3, {64, 2, 1}, false},
          {0, 6, 2, 20, {9, 1}, false, true},
          {0, 3, 1, 5, {4, 11, 1}, true},
          {18, 5, 2, 9, {2}, true},
          {9, 4, 3, 12, {7, 21, 2}, false},
          {0, 2, 2, 6, {13, 2}, true}};
}

std::vector<Shape> preset_shapes() {
  return {{200, 30, 6, 200, {200, 200, 1}, false},
          {200, 30, 6, 200, {100, 1}, true},
          {64, 16, 6, 64, {64, 64, 1}, false, true}};
}

RandomModel::RandomModel(const Shape& shape, Random& random, double scale)
    : sizes(shape.sizes()),
      reward_weights(shape.reward.size()),
      reward_biases(shape.reward.size()) {
  if (shape.clamp_stddev) min_stddev = 0.7f;
  int inputs = 0;  // of the last matrix
  each_tensor(sizes, *this,
              [&](const char*, int, int rows, int columns, std::vector<float>& values) {
                if (columns > 0) inputs = columns;
                const int fan = &values == &gru_weight_ih ? shape.belief : inputs;
                const double bound = scale / std::sqrt(static_cast<double>(fan));
                values = random.uniforms(rows * std::max(columns, 1), -bound, bound);
              });
}

ModelWeights RandomModel::weights() const {
  std::vector<const float*> data;
  each_tensor(sizes, *this, [&](const char*, int, int, int, const std::vector<float>& values) {
    data.push_back(values.data());
  });
  ModelWeights out{};
  auto next = data.begin();
  each_tensor(sizes, out,
              [&](const char*, int, int, int, const float*& pointer) { pointer = *next++; });
  return out;
}

std::string Kernels::name() const {
  const std::string isa_name = cpu::isa_name(isa);
  return precision == Precision::kFloat32 ? isa_name : isa_name + " " + precision_name(precision);
}

void run_too(cpu::Isa isa) {
  taught = isa;
}

std::vector<Kernels> kernels_of(Precision precision) {
  std::vector<Kernels> out;
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    const char* name = cpu::kernels_name(isa, precision);
    const bool own = name != nullptr && std::string(name) == cpu::isa_name(isa);
    if (own && (cpu::isa_supported(isa) || isa == taught)) out.push_back({isa, precision});
  }
  return out;
}

std::vector<Kernels> all_kernels() {
  std::vector<Kernels> out;
  for (int i = 0; i < kPrecisions; ++i) {
    for (const Kernels& kernels : kernels_of(static_cast<Precision>(i))) out.push_back(kernels);
  }
  return out;
}

std::vector<Kernels> chosen_kernels() {
  std::vector<Kernels> out;
  for (const Kernels& kernels : all_kernels()) {
    if (cpu::isa_supported(kernels.isa)) out.push_back(kernels);
  }
  return out;
}

PackedModel::PackedModel(const RandomModel& source, Kernels kernels)
    : model{source.sizes, source.min_stddev, kernels.isa, kernels.precision, nullptr},
      packed_(cpu::packed_bytes(source.sizes, kernels.isa, kernels.precision), 64) {
  cpu::pack(source.sizes, source.weights(), kernels.isa, kernels.precision, packed_.data());
  packed_.check();
  model.packed = packed_.data();
}

Rollout::Rollout(const ModelSizes& sizes, int64_t horizon, int64_t batch, int64_t candidates,
                 NoiseKind noise, bool per_candidate, double discount, Random& random)
    : horizon(horizon),
      batch(batch),
      candidates(candidates),
      per_candidate(per_candidate),
      discount(discount),
      noise(noise),
      iteration(static_cast<uint32_t>(random.integer(0, 65535))),
      particle(static_cast<uint32_t>(random.next())) {
  const int64_t starts = per_candidate ? batch * candidates : batch;
  belief = random.uniforms(starts * sizes.belief, -0.9, 0.9);
  state = random.normals(starts * sizes.state);
  actions = random.uniforms(horizon * batch * candidates * sizes.action, -1.0, 1.0);
  if (noise == NoiseKind::kValues) {
    values = random.normals(horizon * batch * candidates * sizes.state);
  }
  for (int64_t b = 0; b < batch; ++b) seeds.push_back(static_cast<int64_t>(random.next()));
}

std::vector<float> middle(const std::vector<float>& from, int64_t outer, int64_t inner,
                          int64_t width, int64_t first, int64_t count) {
  std::vector<float> to;
  if (from.empty()) return to;
  for (int64_t o = 0; o < outer; ++o) {
    const auto begin = from.begin() + (o * inner + first) * width;
    to.insert(to.end(), begin, begin + count * width);
  }
  return to;
}

Rollout candidates_of(const Rollout& from, const ModelSizes& sizes, int64_t first, int64_t count) {
  Rollout to = from;
  const auto cut = [&](const std::vector<float>& values, int64_t outer, int width) {
    return middle(values, outer, from.candidates, width, first, count);
  };
  to.candidates = count;
  to.actions = cut(from.actions, from.horizon * from.batch, sizes.action);
  to.values = cut(from.values, from.horizon * from.batch, sizes.state);
  if (from.per_candidate) {
    to.belief = cut(from.belief, from.batch, sizes.belief);
    to.state = cut(from.state, from.batch, sizes.state);
  }
  return to;
}

Rollout problem_of(const Rollout& from, const ModelSizes& sizes, int64_t problem) {
  Rollout to = from;
  const auto cut = [&](const std::vector<float>& values, int64_t outer, int64_t width) {
    return middle(values, outer, from.batch, width, problem, 1);
  };
  const int64_t starts = from.per_candidate ? from.candidates : 1;
  to.batch = 1;
  to.actions = cut(from.actions, from.horizon, from.candidates * sizes.action);
  to.values = cut(from.values, from.horizon, from.candidates * sizes.state);
  to.belief = cut(from.belief, 1, starts * sizes.belief);
  to.state = cut(from.state, 1, starts * sizes.state);
  to.seeds = {from.seeds[static_cast<size_t>(problem)]};
  return to;
}

}  // namespace planet::tests
