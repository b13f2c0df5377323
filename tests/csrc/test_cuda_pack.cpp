// The packed weights, tile by tile and lane by lane, against the matrices that they came from.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/tiles/shape.h"
#include "cuda_calls.h"
#include "harness.h"

namespace planet::tests {
namespace {

using cuda::LayerLayout;
using cuda::PackedLayout;

// The value of a bit pattern of fp16 or bf16.
double value_of(uint16_t bits, bool bfloat16) {
  if (bfloat16) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float out;
    std::memcpy(&out, &wide, sizeof out);
    return out;
  }
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

// The weight from input k of an operand to output n of a gate, by the model's own equations.
double weight_of(const RandomModel& m, int layer, int operand, int gate, int n, int k) {
  const int d = m.sizes.belief, s = m.sizes.state, a = m.sizes.action, h = m.sizes.hidden;
  const auto at = [](const std::vector<float>& w, int row, int width, int column) {
    return static_cast<double>(w[static_cast<size_t>(row * width + column)]);
  };
  switch (layer) {
    case cuda::kInputLayer:
      return at(m.input_weight, n, s + a, operand ? s + k : k);
    case cuda::kGruLayer:
      return operand ? at(m.gru_weight_hh, gate * d + n, d, k)
                     : at(m.gru_weight_ih, gate * d + n, h, k);
    case cuda::kPriorHiddenLayer:
      return at(m.prior_hidden_weight, n, d > 0 ? d : h, k);
    case cuda::kPriorLayer:
      return at(m.prior_weight, n % 2 ? s + n / 2 : n / 2, h, k);
    default: {
      const int i = layer - cuda::kRewardLayer;
      const int width = i > 0 ? m.sizes.reward_widths[i - 1] : d + s;
      return at(m.reward_weights[static_cast<size_t>(i)], n, width, operand ? d + k : k);
    }
  }
}

// The number that a tile's lanes hold for output n and input k, all parts together.
double packed_value(const unsigned char* tile, int parts, bool bfloat16, int n, int k) {
  double sum = 0.0;
  for (int part = 0; part < parts; ++part) {
    uint16_t bits;
    std::memcpy(&bits, tile + part * cuda::kTileBytes + cuda::weight_index(n, k) * 2, sizeof bits);
    sum += value_of(bits, bfloat16);
  }
  return sum;
}

// Largest error of one layer in units of its rounding; padding must be zero.
double check_layer(const RandomModel& model, const PackedLayout& layout, int index,
                   Precision precision, const unsigned char* packed) {
  const LayerLayout& layer = layout.layer[index];
  const bool bfloat16 = precision == Precision::kBfloat16;
  const double scale = reinterpret_cast<const cuda::PackedHeader*>(packed)->scale[index];
  const double rounding = bfloat16 ? 0x1p-8 : layout.parts == 2 ? 0x1p-22 : 0x1p-11;
  double largest = 0.0, most = 0.0;
  const unsigned char* tile = packed + layer.tiles;
  for (int block = 0; block < layer.blocks; ++block) {
    for (int step = 0; step < layer.steps[0] + layer.steps[1]; ++step) {
      const int operand = step < layer.steps[0] ? 0 : 1;
      const int first = (operand ? step - layer.steps[0] : step) * 16;
      for (int gate = 0; gate < layer.gates; ++gate, tile += layout.parts * cuda::kTileBytes) {
        for (int i = 0; i < 256; ++i) {
          const int n = block * 16 + i / 16, k = first + i % 16;
          const double got = packed_value(tile, layout.parts, bfloat16, i / 16, i % 16);
          if (n >= layer.outputs || k >= layer.inputs[operand]) {
            CHECK(got == 0.0);
            continue;
          }
          const double wanted = scale * weight_of(model, index, operand, gate, n, k);
          most = std::max(most, std::abs(wanted));
          // Below 2^-14 fp16 is spaced evenly.
          const double unit = std::max(std::abs(wanted) * rounding, bfloat16 ? 0.0 : 0x1p-25);
          largest = std::max(largest, std::abs(got - wanted) / unit);
        }
      }
    }
  }
  if (most > 0.0) CHECK(most >= 256.0 && most < 512.0);
  return largest;
}

bool aligned(int offset) {
  return offset % cuda::kSectionAlignment == 0;
}

}  // namespace

TEST("cuda: packed tiles hold every weight once, scaled and rounded, and zeros around them") {
  Random random(options().seed);
  for (const Shape& shape : {Shape{17, 5, 3, 33, {9, 16, 1}, false}, Shape{0, 16, 17, 8, {1}, true},
                             Shape{48, 30, 6, 40, {20, 1}, true}}) {
    RandomModel model(shape, random);
    for (float& w : model.prior_weight) w *= 1e-4f;
    for (const Precision precision : kCudaPrecisions) {
      CudaModel packed(model, precision);
      const PackedLayout layout = cuda::packed_layout(model.sizes, precision);
      CHECK_EQUAL(static_cast<int64_t>(layout.end), cuda::packed_bytes(model.sizes, precision));
      for (int i = 0; i < layout.layers; ++i) {
        const Scope scope(shape.name(), ", ", precision_name(precision), ", layer ", i);
        CHECK(aligned(layout.layer[i].tiles) && aligned(layout.layer[i].bias));
        CHECK_AT_MOST(check_layer(model, layout, i, precision, packed.packed()), 1.0);
      }
    }
  }
}

TEST("cuda: a layer of zeros, of huge and of tiny weights has a finite scale") {
  Random random(options().seed + 1);
  const Shape shape{6, 3, 2, 5, {4, 1}, false};
  for (const float factor : {0.0f, 1e-44f, 1e-30f, 1e30f, 3e38f}) {
    RandomModel model(shape, random);
    for (float& w : model.prior_hidden_weight) w = w > 0.0f ? factor : -factor;
    CudaModel packed(model, Precision::kFloat16);
    const auto* header = reinterpret_cast<const cuda::PackedHeader*>(packed.packed());
    const Scope scope("factor ", factor);
    const float scale = header->scale[cuda::kPriorHiddenLayer];
    CHECK(scale >= 0x1p-119f && scale <= 0x1p100f);
    if (factor > 1e-20f) CHECK(factor * scale >= 256.0f && factor * scale < 512.0f);
    CHECK(scale * header->unscale[cuda::kPriorHiddenLayer] == 1.0f);
    if (factor == 0.0f) CHECK(scale == 1.0f);
  }
}

TEST("cuda: rows of a block are chosen by occupancy and memory") {
  const Shape paper{200, 30, 6, 200, {200, 200, 1}, false};
  const cuda::DeviceLimits h200{132, 232448}, rtx{170, 101376}, tiny{16, 48 * 1024};
  const auto rows = [&](Precision precision, int64_t batch, int64_t candidates,
                        const cuda::DeviceLimits& limits) {
    const ModelSizes sizes = paper.sizes();
    return cuda::choose_rows(sizes, cuda::packed_layout(sizes, precision), batch, candidates,
                             limits);
  };
  // One plan: every multiprocessor streams all weights, 32 blocks do it faster than 63.
  CHECK_EQUAL(rows(Precision::kFloat16, 1, 1000, h200), 32);
  CHECK_EQUAL(rows(Precision::kFloat32, 1, 1000, h200), 32);
  // Few candidates: narrow blocks have less to do.
  CHECK_EQUAL(rows(Precision::kFloat16, 1, 100, h200), 16);
  // All multiprocessors busy: the L2 cache is the limit, so wide blocks.
  CHECK_EQUAL(rows(Precision::kFloat16, 64, 1000, h200), 64);
  CHECK_EQUAL(rows(Precision::kBfloat16, 64, 1000, h200), 64);
  // A shape that does not fit is not chosen.
  CHECK_EQUAL(rows(Precision::kFloat16, 64, 1000, rtx), 32);
  CHECK_EQUAL(rows(Precision::kFloat32, 64, 1000, rtx), 16);
  CHECK_EQUAL(rows(Precision::kFloat32, 1, 1000, tiny), 0);
}

}  // namespace planet::tests
