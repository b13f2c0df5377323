// Brings the weights into the order in which the kernels read them.
#include "panel.h"

namespace planet::cpu {
namespace {

int64_t tiles(int features, int rows) {
  return (features + rows - 1) / rows;
}

int64_t layer_size(int features, int inputs, int rows) {
  return tiles(features, rows) * rows * (1 + inputs);
}

// Appends one tile's rows [first, first + rows) of a bias (b, plus b2 if not null).
float* pack_bias(const float* b, const float* b2, int features, int first, int rows, float* out) {
  for (int r = 0; r < rows; ++r) {
    const int row = first + r;
    *out++ = row < features ? (b2 ? b[row] + b2[row] : b[row]) : 0.0f;
  }
  return out;
}

// Appends columns [column, column + inputs) of one tile's rows of a matrix with `width` columns.
float* pack_columns(const float* w, int width, int column, int inputs, int features, int first,
                    int rows, float* out) {
  for (int k = 0; k < inputs; ++k) {
    for (int r = 0; r < rows; ++r) {
      const int row = first + r;
      *out++ = row < features ? w[static_cast<int64_t>(row) * width + column + k] : 0.0f;
    }
  }
  return out;
}

void pack_layer(const float* w, const float* b, int features, int inputs, int rows, float* out) {
  for (int first = 0; first < features; first += rows) {
    out = pack_bias(b, nullptr, features, first, rows, out);
    out = pack_columns(w, inputs, 0, inputs, features, first, rows, out);
  }
}

void pack_gru(const ModelSizes& sizes, const ModelWeights& weights, int rows, float* out) {
  const int d = sizes.belief, m = sizes.hidden;
  for (int first = 0; first < d; first += rows) {
    for (int gate = 0; gate < 3; ++gate) {
      const float* hh = weights.gru_weight_hh + static_cast<int64_t>(gate) * d * d;
      const float* ih = weights.gru_weight_ih + static_cast<int64_t>(gate) * d * m;
      const float* bias_hh = weights.gru_bias_hh + gate * d;
      const float* bias_ih = weights.gru_bias_ih + gate * d;
      const bool fold = gate < 2;  // n multiplies its hidden part by r before the rest is added
      out = pack_bias(bias_hh, fold ? bias_ih : nullptr, d, first, rows, out);
      out = pack_columns(hh, d, 0, d, d, first, rows, out);
      if (!fold) out = pack_bias(bias_ih, nullptr, d, first, rows, out);
      out = pack_columns(ih, m, 0, m, d, first, rows, out);
    }
  }
}

}  // namespace

PackedLayout packed_layout(const ModelSizes& sizes, int rows) {
  const int d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  PackedLayout layout{};
  layout.rows = rows;
  int64_t at = 0;
  layout.input = at;
  at += layer_size(m, s + a, rows);
  layout.gru = at;
  at += tiles(d, rows) * rows * (4 + 3 * (d + m));
  layout.prior_hidden = at;
  at += layer_size(m, d, rows);
  layout.prior_mean = at;
  at += layer_size(s, m, rows);
  layout.prior_raw = at;
  at += layer_size(s, m, rows);
  int inputs = d + s;
  for (int layer = 0; layer < sizes.reward_layers; ++layer) {
    layout.reward[layer] = at;
    at += layer_size(sizes.reward_widths[layer], inputs, rows);
    inputs = sizes.reward_widths[layer];
  }
  layout.total = at;
  layout.prefix_gru = tiles(m, rows) * rows;
  layout.prefix_total = layout.prefix_gru + tiles(d, rows) * rows * 3;
  return layout;
}

int64_t packed_size(const ModelSizes& sizes, Isa isa) {
  return packed_layout(sizes, kernel_set(isa).rows).total;
}

void pack(const ModelSizes& sizes, const ModelWeights& weights, Isa isa, float* packed) {
  const int d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  const int rows = kernel_set(isa).rows;
  const PackedLayout layout = packed_layout(sizes, rows);
  pack_layer(weights.input_weight, weights.input_bias, m, s + a, rows, packed + layout.input);
  pack_gru(sizes, weights, rows, packed + layout.gru);
  pack_layer(weights.prior_hidden_weight, weights.prior_hidden_bias, m, d, rows,
             packed + layout.prior_hidden);
  pack_layer(weights.prior_weight, weights.prior_bias, s, m, rows, packed + layout.prior_mean);
  pack_layer(weights.prior_weight + static_cast<int64_t>(s) * m, weights.prior_bias + s, s, m, rows,
             packed + layout.prior_raw);
  int inputs = d + s;
  for (int layer = 0; layer < sizes.reward_layers; ++layer) {
    const int width = sizes.reward_widths[layer];
    pack_layer(weights.reward_weights[layer], weights.reward_biases[layer], width, inputs, rows,
               packed + layout.reward[layer]);
    inputs = width;
  }
}

}  // namespace planet::cpu
