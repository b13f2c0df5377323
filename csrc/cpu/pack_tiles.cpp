// Brings the weights into tiles of bf16 (tile_layout.h).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "pack.h"
#include "tile_layout.h"

namespace planet::cpu {
namespace {

constexpr int kFeatures = 16, kInputs = 32, kWords = 256;  // of a tile
constexpr int kLongest = 3 * kMaxSize + 2 * kInputs;       // inputs of a layer, tiles made whole

float from_bf16(uint16_t half) {
  return std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
}

// Columns [column, column + inputs) of a matrix with `width` columns; without a matrix, the bias.
struct Part {
  const float* weight;
  int width, column, inputs;
};
constexpr Part kOne{nullptr, 0, 0, 2 * kOnePairs};

// A layer: rows of parts side by side, and biases (the second may be null).
struct Layer {
  std::initializer_list<Part> parts;
  const float* bias;
  const float* bias2;
};

class TilePacker {
 public:
  explicit TilePacker(uint16_t* out) : out_(out) {}

  // Appends blocks of 32 features, input tile by input tile.
  void layer(const Layer& layer, int features, int tiles) {
    for (int first = 0; first < features; first += 2 * kFeatures) {
      const int second = first + kFeatures;
      in_turns(layer, tiles, first, layer, second < features ? tiles : 0, second, features);
    }
  }

  // Appends 16 features of two layers in turn; where one has no more tiles, of the other.
  void pair(const Layer& a, int a_tiles, const Layer& b, int b_tiles, int first, int features) {
    in_turns(a, a_tiles, first, b, b_tiles, first, features);
  }

  float* end() const { return reinterpret_cast<float*>(out_); }

 private:
  void in_turns(const Layer& a, int a_tiles, int a_first, const Layer& b, int b_tiles, int b_first,
                int features) {
    block(a, a_tiles, a_first, features, [=](int k) { return k + std::min(k, b_tiles); });
    block(b, b_tiles, b_first, features, [=](int k) { return k + std::min(k + 1, a_tiles); });
    out_ += (a_tiles + b_tiles) * kFeatures * kInputs;
  }

  // Rounds the rows of features [first, first + 16), those from `features` on are zero; input tile
  // k becomes tile place(k) from here on. One row at a time: threads may have small stacks.
  template <class Place>
  void block(const Layer& layer, int tiles, int first, int features, Place place) {
    for (int f = 0; f < kFeatures; ++f) {
      uint16_t line[kLongest] = {};
      if (first + f < features) fill(line, layer, first + f);
      for (int k = 0; k < tiles; ++k) {
        std::memcpy(out_ + (place(k) * kFeatures + f) * kInputs, line + k * kInputs,
                    kInputs * sizeof(uint16_t));
      }
    }
  }

  static void fill(uint16_t* line, const Layer& layer, int row) {
    for (const Part& part : layer.parts) {
      if (part.weight == nullptr) {
        float rest = layer.bias2 ? layer.bias[row] + layer.bias2[row] : layer.bias[row];
        for (int i = 0; i < 3; ++i) {
          line[i] = to_bf16(rest);
          rest -= from_bf16(line[i]);
        }
      } else {
        const float* weight = part.weight + static_cast<int64_t>(row) * part.width + part.column;
        for (int k = 0; k < part.inputs; ++k) line[k] = to_bf16(weight[k]);
      }
      line += 2 * pairs_of(part.inputs);
    }
  }

  uint16_t* out_;
};

// Bounds every sum of a step over the largest magnitude, at least 1, of what it starts from.
class SumBound {
 public:
  // Bounds the layer's outputs for inputs up to `largest`, and notes it.
  double layer(const float* weight, int rows, int columns, const float* bias, double largest) {
    double most = 0.0;
    for (int r = 0; r < rows; ++r) {
      double sum = std::fabs(static_cast<double>(bias[r]));
      for (int k = 0; k < columns; ++k) {
        sum +=
            largest * std::fabs(static_cast<double>(weight[static_cast<int64_t>(r) * columns + k]));
      }
      most = larger(sum, most);
    }
    highest_ = larger(most, highest_);
    return most;
  }

  // Twice for the sum of two layers, twice for what rounding adds. NaN where weights are, or beyond
  // float32's range: every candidate then returns NaN.
  float value() const {
    const double bound = 4.0 * highest_;
    constexpr float kMost = std::numeric_limits<float>::max();
    return bound <= kMost ? static_cast<float>(bound) : std::numeric_limits<float>::quiet_NaN();
  }

 private:
  // NaN if one is.
  static double larger(double a, double b) { return a > b || std::isnan(a) ? a : b; }

  double highest_ = 1.0;
};

float sum_bound(const ModelSizes& sizes, const ModelWeights& w) {
  const int d = sizes.belief, s = sizes.state, m = sizes.hidden;
  SumBound bound;
  const double x = bound.layer(w.input_weight, m, s + sizes.action, w.input_bias, 1.0);
  if (d > 0) {
    bound.layer(w.gru_weight_ih, 3 * d, m, w.gru_bias_ih, x);
    bound.layer(w.gru_weight_hh, 3 * d, d, w.gru_bias_hh, 1.0);
  }
  const double p =
      bound.layer(w.prior_hidden_weight, m, d ? d : m, w.prior_hidden_bias, d ? 1.0 : x);
  bound.layer(w.prior_weight, 2 * s, m, w.prior_bias, p);
  double largest = 1.0;
  for (int i = 0; i < sizes.reward_layers; ++i) {
    const int inputs = i ? sizes.reward_widths[i - 1] : d + s;
    largest = bound.layer(w.reward_weights[i], sizes.reward_widths[i], inputs, w.reward_biases[i],
                          largest);
  }
  return bound.value();
}

int64_t layer_words(int features, int tiles) {
  return static_cast<int64_t>((features + kFeatures - 1) / kFeatures) * tiles * kWords;
}

void pack_gru(const ModelSizes& sizes, const TileShape& shape, const ModelWeights& w,
              TilePacker& packer) {
  const int d = sizes.belief, m = sizes.hidden;
  for (int first = 0; first < d; first += kFeatures) {
    const auto x = [&](int gate) {
      return Part{w.gru_weight_ih + static_cast<int64_t>(gate) * d * m, m, 0, m};
    };
    const auto h = [&](int gate) {
      return Part{w.gru_weight_hh + static_cast<int64_t>(gate) * d * d, d, 0, d};
    };
    const float *bias_x = w.gru_bias_ih, *bias_h = w.gru_bias_hh;
    packer.pair({{x(0), kOne, h(0)}, bias_x, bias_h}, shape.gates,
                {{x(1), kOne, h(1)}, bias_x + d, bias_h + d}, shape.gates, first, d);
    packer.pair({{x(2), kOne}, bias_x + 2 * d, nullptr}, shape.new_x,
                {{kOne, h(2)}, bias_h + 2 * d, nullptr}, shape.new_h, first, d);
  }
}

void pack_reward(const ModelSizes& sizes, const TileShape& shape, const ModelWeights& w,
                 TilePacker& packer) {
  const int d = sizes.belief, s = sizes.state;
  const int last = sizes.reward_layers - 1;
  for (int i = 0; i < last; ++i) {
    const float *weight = w.reward_weights[i], *bias = w.reward_biases[i];
    if (i == 0) {
      const Part belief{weight, d + s, 0, d}, state_part{weight, d + s, d, s};
      packer.layer({{kOne, belief, state_part}, bias, nullptr}, sizes.reward_widths[i],
                   shape.reward[i]);
    } else {
      const int inputs = sizes.reward_widths[i - 1];
      packer.layer({{Part{weight, inputs, 0, inputs}, kOne}, bias, nullptr}, sizes.reward_widths[i],
                   shape.reward[i]);
    }
  }
  pack_last_reward(sizes, w, packer.end());
}

}  // namespace

PackedLayout tile_layout(const ModelSizes& sizes, int rows) {
  const TileShape shape = tile_shape(sizes);
  PackedLayout layout{};
  layout.rows = rows;
  int64_t at = kTileHeader;
  layout.input = at;
  at += layer_words(sizes.hidden, shape.input);
  layout.gru = at;
  at += layer_words(sizes.belief, 2 * shape.gates + shape.new_x + shape.new_h);
  layout.prior_hidden = at;
  at += layer_words(sizes.hidden, shape.prior_hidden);
  layout.prior_mean = layout.prior_raw = at;
  at += layer_words(sizes.state, 2 * shape.prior);
  const int last = sizes.reward_layers - 1;
  for (int i = 0; i < last; ++i) {
    layout.reward[i] = at;
    at += layer_words(sizes.reward_widths[i], shape.reward[i]);
  }
  layout.reward[last] = at;
  at += last_reward_words(sizes);
  layout.total = at;
  return layout;
}

void pack_tiles(const ModelSizes& sizes, const ModelWeights& w, float* packed) {
  const int d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  const TileShape shape = tile_shape(sizes);
  std::fill_n(packed, kTileHeader, 0.0f);
  packed[0] = sum_bound(sizes, w);
  TilePacker packer(reinterpret_cast<uint16_t*>(packed + kTileHeader));
  const Part state{w.input_weight, s + a, 0, s}, action{w.input_weight, s + a, s, a};
  packer.layer({{state, action, kOne}, w.input_bias, nullptr}, m, shape.input);

  pack_gru(sizes, shape, w, packer);
  if (d > 0) {
    const Part belief{w.prior_hidden_weight, d, 0, d};
    packer.layer({{kOne, belief}, w.prior_hidden_bias, nullptr}, m, shape.prior_hidden);
  } else {
    const Part x{w.prior_hidden_weight, m, 0, m};
    packer.layer({{x, kOne}, w.prior_hidden_bias, nullptr}, m, shape.prior_hidden);
  }
  const Part mean{w.prior_weight, m, 0, m},
      raw{w.prior_weight + static_cast<int64_t>(s) * m, m, 0, m};
  for (int first = 0; first < s; first += kFeatures) {
    packer.pair({{mean, kOne}, w.prior_bias, nullptr}, shape.prior,
                {{raw, kOne}, w.prior_bias + s, nullptr}, shape.prior, first, s);
  }

  pack_reward(sizes, shape, w, packer);
}

}  // namespace planet::cpu
