#include "oracle.h"

#include <string.h>

#include <algorithm>
#include <cmath>

namespace planet::tests {
namespace {

using Vector = std::vector<double>;

// How the input of a product was made: what its quantisation depends on.
enum class Kind { kRelu, kElu, kSigned };

// An input of int8 products: value = step * (byte - zero), with ELU one less.
struct Bytes {
  std::vector<int> byte;
  double step;
  int zero;
  double offset;
};

Bytes quantise(const Vector& x, Kind kind) {
  double largest = kind == Kind::kRelu ? 0.0 : kind == Kind::kElu ? -1.0 : 0.0;
  for (const double value : x) {
    largest = std::max(largest, kind == Kind::kSigned ? std::abs(value) : value);
  }
  Bytes out{{}, 0.0, 0, 0.0};
  if (kind == Kind::kRelu) out.step = largest / 255.0;
  if (kind == Kind::kElu) out.step = (largest + 1.0) / 255.0, out.offset = -1.0;
  if (kind == Kind::kSigned) out.step = largest / 127.0, out.zero = 128;
  for (const double value : x) {
    const double scaled = out.step > 0.0 ? (value - out.offset) / out.step : 0.0;
    out.byte.push_back(static_cast<int>(std::nearbyint(scaled)) + out.zero);
  }
  return out;
}

// The nearest number that bfloat16 holds, ties to even; what is smaller than its normal numbers is
// 0.
double bfloat16(double x) {
  constexpr uint64_t kCut = (uint64_t{1} << 45) - 1;  // 52 bits of a double, 7 of them stay
  if (!(std::abs(x) >= 0x1p-126)) return std::isnan(x) ? x : 0.0;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits + (kCut >> 1) + (bits >> 45 & 1)) & ~kCut;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// Columns [column, column + x.size()) of one row of a matrix, times x.
struct Product {
  const std::vector<float>& weight;  // [rows, width]
  int64_t width, column;
  const Vector& x;
  Kind kind;

  // All rows.
  Vector operator()(int64_t rows, Precision precision) const {
    const bool half = precision == Precision::kBfloat16;
    const Bytes bytes = precision == Precision::kInt8 ? quantise(x, kind) : Bytes{};
    Vector inputs = x;
    if (half) std::transform(x.begin(), x.end(), inputs.begin(), bfloat16);
    Vector out;
    for (int64_t r = 0; r < rows; ++r) {
      out.push_back(precision == Precision::kInt8 ? quantised(r, bytes) : sum(r, inputs, half));
    }
    return out;
  }

 private:
  double sum(int64_t row, const Vector& inputs, bool half) const {
    const float* w = weight.data() + row * width + column;
    double sum = 0.0;
    for (size_t k = 0; k < inputs.size(); ++k) sum += (half ? bfloat16(w[k]) : w[k]) * inputs[k];
    return sum;
  }

  double quantised(int64_t row, const Bytes& bytes) const {
    const float* w = weight.data() + row * width + column;
    float largest = 0.0f;
    for (size_t k = 0; k < x.size(); ++k) largest = std::max(largest, std::abs(w[k]));
    if (largest == 0.0f) return 0.0;
    // Weights are rounded once, in float32 as the packing does it: a tie must fall the same way.
    const float step = largest / 127.0f, inverse = 127.0f / largest;
    int64_t sum = 0, weights = 0;
    for (size_t k = 0; k < x.size(); ++k) {
      const int64_t q = static_cast<int64_t>(std::nearbyint(w[k] * inverse));
      sum += q * (bytes.byte[k] - bytes.zero);
      weights += q;
    }
    return step *
           (bytes.step * static_cast<double>(sum) + bytes.offset * static_cast<double>(weights));
  }
};

// Of a kernel's own functions where they are given.
struct Activations {
  const Functions* given;

  double sigmoid(double x) const {
    return given ? given->sigmoid(static_cast<float>(x)) : 1.0 / (1.0 + std::exp(-x));
  }
  double tanh(double x) const { return given ? given->tanh(static_cast<float>(x)) : std::tanh(x); }
  double softplus(double x) const {
    return given ? given->softplus(static_cast<float>(x))
                 : std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  }
};

// One candidate.
class Simulation {
 public:
  Simulation(const RandomModel& model, Precision precision, const Functions* functions,
             Vector belief, Vector state)
      : model_(model),
        precision_(precision),
        functions_{functions},
        belief_(std::move(belief)),
        state_(std::move(state)) {}

  // Sum of the magnitudes that the last reward was summed from.
  double magnitude() const { return magnitude_; }

  // The belief that an action leads to.
  Vector belief_after(const float* action) {
    advance_belief(input(action));
    return belief_;
  }

  // Advances by one action and returns the reward, times what the steps before left of going on;
  // noise [S] may be null.
  double step(const float* action, const float* noise) {
    const Vector x = input(action);
    if (!belief_.empty()) advance_belief(x);
    advance_state(x, noise);
    const Vector head = last_layer();
    const double reward = going_ * head[0];
    if (head.size() == 2) going_ *= 1.0 / (1.0 + std::exp(-head[1]));
    return reward;
  }

 private:
  // act(sum of products + bias).
  Vector layer(const std::vector<float>& bias, const std::vector<Product>& parts,
               Precision precision, bool activate) const {
    Vector out(bias.begin(), bias.end());
    for (const Product& part : parts) {
      const Vector sums = part(static_cast<int64_t>(out.size()), precision);
      for (size_t i = 0; i < out.size(); ++i) out[i] += sums[i];
    }
    if (activate) {
      for (double& v : out) v = v > 0.0 ? v : model_.sizes.elu ? std::expm1(v) : 0.0;
    }
    return out;
  }

  Kind activation() const { return model_.sizes.elu ? Kind::kElu : Kind::kRelu; }

  Vector input(const float* action) const {
    const int64_t s = model_.sizes.state, a = model_.sizes.action;
    const Vector actions(action, action + a);
    const Product of_action{model_.input_weight, s + a, s, actions, Kind::kSigned};
    const bool int8 = precision_ == Precision::kInt8;  // never quantises the action's part
    const Vector more = of_action(model_.sizes.hidden, int8 ? Precision::kFloat32 : precision_);
    Vector out = layer(model_.input_bias, {{model_.input_weight, s + a, 0, state_, Kind::kSigned}},
                       precision_, false);
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] += more[i];
      out[i] = out[i] > 0.0 ? out[i] : model_.sizes.elu ? std::expm1(out[i]) : 0.0;
    }
    return out;
  }

  void advance_belief(const Vector& x) {
    const size_t d = belief_.size();
    const Vector from_x =
        layer(model_.gru_bias_ih, {{model_.gru_weight_ih, model_.sizes.hidden, 0, x, activation()}},
              precision_, false);
    const Vector from_h =
        layer(model_.gru_bias_hh,
              {{model_.gru_weight_hh, model_.sizes.belief, 0, belief_, Kind::kSigned}}, precision_,
              false);
    for (size_t i = 0; i < d; ++i) {
      const double r = functions_.sigmoid(from_x[i] + from_h[i]);
      const double z = functions_.sigmoid(from_x[d + i] + from_h[d + i]);
      const double n = functions_.tanh(from_x[2 * d + i] + r * from_h[2 * d + i]);
      belief_[i] = n + z * (belief_[i] - n);
    }
  }

  void advance_state(const Vector& x, const float* noise) {
    const bool ssm = belief_.empty();
    const Product of_input{model_.prior_hidden_weight,
                           ssm ? model_.sizes.hidden : model_.sizes.belief, 0, ssm ? x : belief_,
                           ssm ? activation() : Kind::kSigned};
    const Vector p = layer(model_.prior_hidden_bias, {of_input}, precision_, true);
    const Vector prior =
        layer(model_.prior_bias, {{model_.prior_weight, model_.sizes.hidden, 0, p, activation()}},
              precision_, false);
    const size_t s = state_.size();
    for (size_t i = 0; i < s; ++i) {
      const double positive = functions_.softplus(prior[s + i]);
      const double least = static_cast<double>(model_.min_stddev);
      const double stddev =
          model_.sizes.clamp_stddev ? std::max(positive, least) : positive + least;
      state_[i] = prior[i] + (noise ? stddev * static_cast<double>(noise[i]) : 0.0);
    }
  }

  double magnitude_of_last(const Vector& hidden) const {
    Vector inputs = hidden;
    if (model_.sizes.reward_layers == 1) {
      inputs = belief_;
      inputs.insert(inputs.end(), state_.begin(), state_.end());
    }
    double sum = std::abs(static_cast<double>(model_.reward_biases.back()[0]));
    for (size_t k = 0; k < inputs.size(); ++k) {
      sum += std::abs(static_cast<double>(model_.reward_weights.back()[k]) * inputs[k]);
    }
    return sum;
  }

  Vector last_layer() {
    const int64_t d = model_.sizes.belief, s = model_.sizes.state;
    const int layers = model_.sizes.reward_layers;
    Vector hidden;
    for (int i = 0; i < layers; ++i) {
      const bool last = i + 1 == layers;
      const Precision precision = last ? Precision::kFloat32 : precision_;
      if (last) magnitude_ = going_ * magnitude_of_last(hidden);
      const auto& weight = model_.reward_weights[static_cast<size_t>(i)];
      const auto& bias = model_.reward_biases[static_cast<size_t>(i)];
      if (i > 0) {
        const Product part{weight, static_cast<int64_t>(hidden.size()), 0, hidden, activation()};
        hidden = layer(bias, {part}, precision, !last);
        continue;
      }
      const Product of_belief{weight, d + s, 0, belief_, Kind::kSigned};
      const Product of_state{weight, d + s, d, state_, Kind::kSigned};
      hidden = layer(bias, {of_belief, of_state}, precision, !last);
    }
    return hidden;
  }

  const RandomModel& model_;
  Precision precision_;
  Activations functions_;
  Vector belief_, state_;
  double magnitude_ = 0.0, going_ = 1.0;
};

Vector row_of(const std::vector<float>& values, int64_t row, int width) {
  const auto begin = values.begin() + row * width;
  return {begin, begin + width};
}

double rms(const Vector& values) {
  double squares = 0.0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

}  // namespace

Returns Returns::first(int64_t batch, int64_t count) const {
  const int64_t candidates = static_cast<int64_t>(values.size()) / batch;
  Returns out{{}, scale, magnitude};
  for (int64_t b = 0; b < batch; ++b) {
    const auto row = values.begin() + b * candidates;
    out.values.insert(out.values.end(), row, row + count);
  }
  return out;
}

std::vector<double> oracle_belief(const RandomModel& model, const std::vector<float>& belief,
                                  const std::vector<float>& state, const float* action) {
  Simulation simulation(model, Precision::kFloat32, nullptr, {belief.begin(), belief.end()},
                        {state.begin(), state.end()});
  return simulation.belief_after(action);
}

Returns oracle_returns(const RandomModel& model, Precision precision, const Rollout& r,
                       const Functions* functions) {
  const ModelSizes& sizes = model.sizes;
  Vector returns, magnitudes;
  for (int64_t b = 0; b < r.batch; ++b) {
    for (int64_t j = 0; j < r.candidates; ++j) {
      const int64_t start = r.per_candidate ? b * r.candidates + j : b;
      Simulation simulation(model, precision, functions, row_of(r.belief, start, sizes.belief),
                            row_of(r.state, start, sizes.state));
      double total = 0.0, magnitude = 0.0, weight = 1.0;
      for (int64_t t = 0; t < r.horizon; ++t) {
        const int64_t row = (t * r.batch + b) * r.candidates + j;
        const float* noise = r.values.empty() ? nullptr : r.values.data() + row * sizes.state;
        total += weight * simulation.step(r.actions.data() + row * sizes.action, noise);
        magnitude += weight * simulation.magnitude();
        weight *= r.discount;
      }
      returns.push_back(total);
      magnitudes.push_back(magnitude);
    }
  }
  return {returns, std::max(rms(returns), 1e-2), rms(magnitudes)};
}

std::vector<double> returns_errors(const std::vector<float>& got, const Returns& expected) {
  Vector errors;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = static_cast<double>(got[i]) - expected.values[i];
    errors.push_back(std::abs(difference) / expected.scale);
  }
  return errors;
}

double returns_error(const std::vector<float>& got, const Returns& expected) {
  double largest = 0.0;
  for (const double error : returns_errors(got, expected)) {
    if (std::isnan(error)) return error;
    largest = std::max(largest, error);
  }
  return largest;
}

}  // namespace planet::tests
