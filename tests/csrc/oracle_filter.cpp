#include <algorithm>
#include <cmath>

#include "image_cases.h"
#include "oracle.h"
#include "philox.h"

namespace planet::tests {
namespace {

using Vector = std::vector<double>;

double activate(double x, bool elu) {
  return x > 0.0 ? x : elu ? std::expm1(x) : 0.0;
}

// act(bias + weight x), weight [rows, x.size()] of a matrix.
Vector dense(const std::vector<float>& weight, const std::vector<float>& bias, const Vector& x) {
  Vector out(bias.begin(), bias.end());
  for (size_t i = 0; i < weight.size(); ++i) {
    out[i / x.size()] += static_cast<double>(weight[i]) * x[i % x.size()];
  }
  return out;
}

// A map [channels, side, side].
struct Map {
  int channels, side;
  Vector values;

  double at(int c, int y, int x) const {
    return values[static_cast<size_t>((c * side + y) * side + x)];
  }
};

// torch.nn.Conv2d without padding, and the activation.
Map convolve(const Map& in, const std::vector<float>& weight, const std::vector<float>& bias,
             const EncoderLayer& layer, bool elu) {
  const int side = (in.side - layer.kernel) / layer.stride + 1, k = layer.kernel;
  Map out{layer.channels, side, {}};
  for (int o = 0; o < layer.channels; ++o) {
    for (int y = 0; y < side; ++y) {
      for (int x = 0; x < side; ++x) {
        double sum = static_cast<double>(bias[static_cast<size_t>(o)]);
        size_t next = static_cast<size_t>(o) * static_cast<size_t>(in.channels * k * k);
        for (int c = 0; c < in.channels; ++c) {
          for (int dy = 0; dy < k; ++dy) {
            for (int dx = 0; dx < k; ++dx) {
              sum += static_cast<double>(weight[next++]) *
                     in.at(c, y * layer.stride + dy, x * layer.stride + dx);
            }
          }
        }
        out.values.push_back(activate(sum, elu));
      }
    }
  }
  return out;
}

}  // namespace

Vector Posterior::state() const {
  Vector out = mean;
  for (size_t i = 0; i < out.size(); ++i) out[i] += stddev[i] * normals[i];
  return out;
}

Posterior oracle_posterior(const RandomModel& model, const RandomFilter& filter,
                           const Filtering& row) {
  const EncoderSizes& encoder = filter.encoder;
  const bool elu = model.sizes.elu;
  const int side = encoder.image_size;
  const auto pixels =
      oracle_images({1, 1, static_cast<int64_t>(row.frames.size()), encoder.bit_depth,
                     row.frames.data(), row.seeds.data(), nullptr});
  Map map{3, side, {}};
  for (int c = 0; c < 3; ++c) {
    for (int p = 0; p < side * side; ++p) {
      map.values.push_back(static_cast<double>(pixels[static_cast<size_t>(p * 3 + c)]));
    }
  }
  for (int i = 0; i < encoder.layers; ++i) {
    const size_t at = static_cast<size_t>(i);
    map =
        convolve(map, filter.encoder_weights[at], filter.encoder_biases[at], encoder.layer[i], elu);
  }
  Posterior out;
  out.belief = oracle_belief(model, row.belief, row.state, row.action.data());
  Vector features = out.belief;
  features.insert(features.end(), map.values.begin(), map.values.end());
  Vector hidden = dense(filter.posterior_hidden_weight, filter.posterior_hidden_bias, features);
  for (double& x : hidden) x = activate(x, elu);
  const Vector head = dense(filter.posterior_weight, filter.posterior_bias, hidden);
  const size_t s = static_cast<size_t>(model.sizes.state);
  const double least = static_cast<double>(model.min_stddev);
  for (size_t i = 0; i < s; ++i) {
    const double positive = std::log1p(std::exp(head[s + i]));
    out.mean.push_back(head[i]);
    out.stddev.push_back(model.sizes.clamp_stddev ? std::max(positive, least) : positive + least);
  }
  out.normals = oracle_normals(row.seeds[0], {kStreamPosterior, 0, 0, 0}, 1, model.sizes.state);
  return out;
}

}  // namespace planet::tests
