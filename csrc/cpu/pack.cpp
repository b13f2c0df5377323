// Brings the weights into the order in which the kernels read them, and quantises them.
#include <algorithm>
#include <cmath>

#include "pack.h"

namespace planet::cpu {
namespace {

// How the operand of a product is quantised to int8 (quantised.inc).
enum class Operand {
  kExact,   // not at all
  kSigned,  // belief, state: zero point 128
  kHidden,  // output of an activation: from 0 (ReLU) or -1 (ELU)
};

// Columns [column, column + inputs) of a matrix with `width` columns, times an operand.
struct Part {
  const float* weight;
  int width, column, inputs;
  Operand operand;
};

int64_t tiles(int features, int rows) {
  return (features + rows - 1) / rows;
}

int64_t part_words(int inputs, int rows, Packing packing) {
  if (packing == Packing::kExact) return static_cast<int64_t>(inputs) * rows;
  if (packing == Packing::kPairs) return static_cast<int64_t>((inputs + 1) / 2) * rows;
  return inputs == 0 ? 0 : static_cast<int64_t>(rows) * (2 + (inputs + 3) / 4);
}

class Packer {
 public:
  Packer(const ModelSizes& sizes, const KernelSet& kernels)
      : elu_(sizes.elu), rows_(kernels.rows), packing_(kernels.packing) {}

  // Appends one tile: rows [first, first + rows) of bias (plus bias2 if not null) and of the parts.
  template <class... Parts>
  void tile(const float* bias, const float* bias2, int features, int first, const Parts&... parts) {
    float* tile_bias = out;
    const int left = features - first, count = left < rows_ ? left : rows_;
    for (int r = 0; r < rows_; ++r) {
      *out++ = r < count ? (bias2 ? bias[first + r] + bias2[first + r] : bias[first + r]) : 0.0f;
    }
    (part(parts, first, count, tile_bias), ...);
  }

  template <class... Parts>
  void layer(const float* bias, int features, const Parts&... parts) {
    for (int first = 0; first < features; first += rows_) {
      tile(bias, nullptr, features, first, parts...);
    }
  }

  float* out = nullptr;

 private:
  void part(const Part& part, int first, int count, float* bias) {
    if (part.inputs == 0) return;
    if (packing_ == Packing::kQuads && part.operand != Operand::kExact) {
      return quantised(part, first, count, bias);
    }
    if (packing_ == Packing::kPairs) return rounded(part, first, count);
    for (int k = 0; k < part.inputs; ++k) {
      for (int r = 0; r < rows_; ++r) *out++ = r < count ? row(part, first + r)[k] : 0.0f;
    }
  }

  static const float* row(const Part& part, int index) {
    return part.weight + static_cast<int64_t>(index) * part.width + part.column;
  }

  void rounded(const Part& part, int first, int count) {
    const int pairs = (part.inputs + 1) / 2;
    uint16_t* weight = reinterpret_cast<uint16_t*>(out);
    out += part_words(part.inputs, rows_, Packing::kPairs);
    for (int k = 0; k < 2 * pairs; ++k) {
      for (int r = 0; r < rows_; ++r) {
        const bool inside = r < count && k < part.inputs;
        weight[(k / 2 * rows_ + r) * 2 + k % 2] = inside ? to_bf16(row(part, first + r)[k]) : 0;
      }
    }
  }

  void quantised(const Part& part, int first, int count, float* bias) {
    const int quads = (part.inputs + 3) / 4;
    float* step = out;
    int32_t* zero = reinterpret_cast<int32_t*>(out + rows_);
    int8_t* weight = reinterpret_cast<int8_t*>(out + 2 * rows_);
    out += part_words(part.inputs, rows_, packing_);
    for (int r = 0; r < rows_; ++r) {
      const float* w = r < count ? row(part, first + r) : nullptr;
      float largest = 0x1p-100f;  // a row of zeros has a step, too
      for (int k = 0; w && k < part.inputs; ++k) largest = std::fmax(largest, std::fabs(w[k]));
      const float inverse = 127.0f / largest;
      int32_t sum = 0;
      for (int k = 0; k < 4 * quads; ++k) {
        const float q = w && k < part.inputs ? std::nearbyint(w[k] * inverse) : 0.0f;
        weight[(k / 4 * rows_ + r) * 4 + k % 4] = static_cast<int8_t>(q);
        sum += static_cast<int32_t>(q);
      }
      step[r] = largest / 127.0f;
      zero[r] = part.operand == Operand::kSigned ? -128 * sum : 0;
      if (part.operand == Operand::kHidden && elu_) bias[r] -= step[r] * static_cast<float>(sum);
    }
  }

  bool elu_;
  int rows_;
  Packing packing_;
};

void pack_gru(const ModelSizes& sizes, const ModelWeights& weights, int rows, Packer& packer) {
  const int d = sizes.belief, m = sizes.hidden;
  for (int first = 0; first < d; first += rows) {
    for (int gate = 0; gate < 3; ++gate) {
      const Part hh{weights.gru_weight_hh + static_cast<int64_t>(gate) * d * d, d, 0, d,
                    Operand::kSigned};
      const Part ih{weights.gru_weight_ih + static_cast<int64_t>(gate) * d * m, m, 0, m,
                    Operand::kHidden};
      const float* bias_hh = weights.gru_bias_hh + gate * d;
      const float* bias_ih = weights.gru_bias_ih + gate * d;
      if (gate < 2) {
        packer.tile(bias_hh, bias_ih, d, first, hh, ih);
      } else {  // n multiplies its hidden part by r before the rest is added
        packer.tile(bias_hh, nullptr, d, first, hh);
        packer.tile(bias_ih, nullptr, d, first, ih);
      }
    }
  }
}

}  // namespace

int64_t last_reward_words(const ModelSizes& sizes) {
  const int last = sizes.reward_layers - 1;
  const int inputs = last > 0 ? sizes.reward_widths[last - 1] : sizes.belief + sizes.state;
  return static_cast<int64_t>(sizes.reward_widths[last]) * (1 + inputs);
}

void pack_last_reward(const ModelSizes& sizes, const ModelWeights& weights, float* out) {
  const int last = sizes.reward_layers - 1, rows = sizes.reward_widths[last];
  const int64_t inputs = last_reward_words(sizes) / rows - 1;
  const float* weight = weights.reward_weights[last];
  for (int r = 0; r < rows; ++r, weight += inputs) {
    *out++ = weights.reward_biases[last][r];
    out = std::copy_n(weight, inputs, out);
  }
}

PackedLayout packed_layout(const ModelSizes& sizes, const KernelSet& kernels) {
  if (kernels.packing == Packing::kTiles) return tile_layout(sizes, kernels.rows);
  const int d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  const int rows = kernels.rows;
  const auto part = [&](int inputs) { return part_words(inputs, rows, kernels.packing); };
  const int64_t action =
      kernels.packing == Packing::kPairs ? part(a) : part_words(a, rows, Packing::kExact);
  PackedLayout layout{};
  layout.rows = rows;
  int64_t at = 0;
  layout.input = at;
  at += tiles(m, rows) * (rows + part(s) + action);
  layout.gru = at;
  at += tiles(d, rows) * (4 * rows + 3 * (part(d) + part(m)));
  layout.prior_hidden = at;
  at += tiles(m, rows) * (rows + part(d ? d : m));
  layout.prior_mean = at;
  at += tiles(s, rows) * (rows + part(m));
  layout.prior_raw = at;
  at += tiles(s, rows) * (rows + part(m));
  const int last = sizes.reward_layers - 1;
  for (int i = 0; i < last; ++i) {
    const int64_t parts = i ? part(sizes.reward_widths[i - 1]) : part(d) + part(s);
    layout.reward[i] = at;
    at += tiles(sizes.reward_widths[i], rows) * (rows + parts);
  }
  layout.reward[last] = at;
  at += last_reward_words(sizes);
  layout.total = at;
  layout.prefix_gru = tiles(m, rows) * rows;
  layout.prefix_total = layout.prefix_gru + tiles(d, rows) * rows * 3;
  return layout;
}

int64_t packed_bytes(const ModelSizes& sizes, Isa isa, Precision precision) {
  return 4 * packed_layout(sizes, kernel_set(isa, precision)).total;
}

void pack(const ModelSizes& sizes, const ModelWeights& weights, Isa isa, Precision precision,
          void* packed) {
  const int d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  const KernelSet& kernels = kernel_set(isa, precision);
  if (kernels.packing == Packing::kTiles) {
    return pack_tiles(sizes, weights, static_cast<float*>(packed));
  }
  Packer packer(sizes, kernels);
  packer.out = static_cast<float*>(packed);  // the order is that of packed_layout
  packer.layer(weights.input_bias, m, Part{weights.input_weight, s + a, 0, s, Operand::kSigned},
               Part{weights.input_weight, s + a, s, a, Operand::kExact});
  pack_gru(sizes, weights, kernels.rows, packer);
  packer.layer(weights.prior_hidden_bias, m,
               d ? Part{weights.prior_hidden_weight, d, 0, d, Operand::kSigned}
                 : Part{weights.prior_hidden_weight, m, 0, m, Operand::kHidden});
  const float* raw = weights.prior_weight + static_cast<int64_t>(s) * m;
  packer.layer(weights.prior_bias, s, Part{weights.prior_weight, m, 0, m, Operand::kHidden});
  packer.layer(weights.prior_bias + s, s, Part{raw, m, 0, m, Operand::kHidden});
  const int last = sizes.reward_layers - 1;
  for (int i = 0; i < last; ++i) {
    const float* weight = weights.reward_weights[i];
    const float* bias = weights.reward_biases[i];
    const int width = sizes.reward_widths[i];
    if (i == 0) {
      packer.layer(bias, width, Part{weight, d + s, 0, d, Operand::kSigned},
                   Part{weight, d + s, d, s, Operand::kSigned});
    } else {
      const int inputs = sizes.reward_widths[i - 1];
      packer.layer(bias, width, Part{weight, inputs, 0, inputs, Operand::kHidden});
    }
  }
  pack_last_reward(sizes, weights, packer.out);
}

}  // namespace planet::cpu
