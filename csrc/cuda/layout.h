// The layout of packed weights: a header; for every layer its weights as tiles of the matrix units
// and its biases padded to whole blocks; and the model's arrays once more as they came, for the
// exact path. C++17, host and device.
//
//   header           PackedHeader
//   tiles            layer by layer in order of use: [block][step][gate][part] of 512 bytes each; a
//                    block has 16 outputs, a step 16 inputs (operand after operand, each padded to
//                    whole steps), the GRU has gates r, z, n, and float32 the parts high and low
//   biases           layer by layer: float [block][slot][16]; the GRU has the slots r, z (sums of
//                    both biases), n of the input, n of the belief
//   reward row       the last reward layer's weights, operands padded with zeros to whole blocks
//   logit row        its second row likewise, with continuation
//   arrays           row-major float32, ModelArrays
//
// The prior's outputs alternate, mean 0, raw 0, mean 1, raw 1, ..., so that one thread has both.
// Sections that only one kernel variant reads are appended after `end` by that variant's own
// layout.
#pragma once

#include <stdint.h>

#include "../model_tensors.h"
#include "fragments.h"

namespace planet::cuda {

enum Layer : int {
  kInputLayer = 0,
  kGruLayer = 1,
  kPriorHiddenLayer = 2,
  kPriorLayer = 3,
  kRewardLayer = 4,  // and the following; the last reward layer is a row and has no tiles
};
constexpr int kMaxLayers = kRewardLayer + kMaxRewardLayers - 1;
constexpr int kTileBytes = kTile * kTile * 2;
constexpr int kSectionAlignment = 256;
constexpr int kTileSlack = 16;  // tiles after the last one that may be read, but are not used

// Weights of a layer are multiplied by a power of two before they are rounded.
struct PackedHeader {
  float scale[kMaxLayers];    // that power
  float unscale[kMaxLayers];  // what sums are multiplied by: also undoes kActivationScale
};

// float32 products take operands from two fp16 parts; activations are multiplied by this before
// they are split, so that the low part stays clear of fp16's smallest numbers.
constexpr float kActivationScale = 16.0f;

struct LayerLayout {
  int outputs;    // without padding; the prior's count twice
  int inputs[2];  // of each operand, without padding; 0: no such operand
  int gates;      // matrices of this shape that share the operands
  int slots;      // biases per output
  int blocks;     // of 16 outputs
  int steps[2];   // of 16 inputs
  int tiles;      // bytes from the start of the pack
  int bias;       // likewise
};

// Offsets in bytes of the arrays as ModelWeights names them.
struct ModelArrays {
  int input_weight, input_bias;
  int gru_weight_ih, gru_weight_hh, gru_bias_ih, gru_bias_hh;
  int prior_hidden_weight, prior_hidden_bias;
  int prior_weight, prior_bias;
  int reward_weights[kMaxRewardLayers], reward_biases[kMaxRewardLayers];
};

struct PackedLayout {
  int parts;   // tiles per weight: 2 for float32, otherwise 1
  int layers;  // kRewardLayer + hidden reward layers; without a belief layer kGruLayer is empty
  LayerLayout layer[kMaxLayers];
  int reward_row[2];  // of the last reward layer's operands
  int logit_row[2];   // likewise; 0 without continuation
  ModelArrays arrays;
  int end;
};

PLANET_HOST_DEVICE constexpr int align_section(int bytes) {
  return (bytes + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
}

// Tiles of one block, that is of one stream.
PLANET_HOST_DEVICE constexpr int tiles_per_block(const LayerLayout& layer, int parts) {
  return (layer.steps[0] + layer.steps[1]) * layer.gates * parts;
}

// Row of the matrix (gate by gate one below the other) that output n of a gate is, or -1: padding.
PLANET_HOST_DEVICE constexpr int weight_row(int layer, const LayerLayout& shape, int gate, int n) {
  if (n >= shape.outputs) return -1;
  return layer == kPriorLayer ? n % 2 * (shape.outputs / 2) + n / 2 : gate * shape.outputs + n;
}

namespace layout_details {

constexpr int blocks_of(int size) {
  return (size + kTile - 1) / kTile;
}

constexpr LayerLayout shape(int outputs, int input0, int input1, int gates, int slots) {
  return {outputs,
          {input0, input1},
          gates,
          slots,
          blocks_of(outputs),
          {blocks_of(input0), blocks_of(input1)},
          0,
          0};
}

// Hands out the bytes of a pack from its start.
struct Cursor {
  int at;

  constexpr int take(int bytes) {
    const int here = at;
    at = align_section(at + bytes);
    return here;
  }
  constexpr int take_floats(int count) { return take(4 * count); }
};

}  // namespace layout_details

// The shapes alone: tiles and bias are not placed yet.
constexpr PackedLayout layer_shapes(const ModelSizes& sizes) {
  using layout_details::shape;
  const int d = sizes.belief, s = sizes.state, m = sizes.hidden;
  PackedLayout layout{};
  layout.layers = kRewardLayer + sizes.reward_layers - 1;
  layout.layer[kInputLayer] = shape(m, s, sizes.action, 1, 1);
  layout.layer[kGruLayer] = d > 0 ? shape(d, m, d, 3, 4) : shape(0, 0, 0, 3, 4);
  layout.layer[kPriorHiddenLayer] = shape(m, d > 0 ? d : m, 0, 1, 1);
  layout.layer[kPriorLayer] = shape(2 * s, m, 0, 1, 1);
  for (int i = 0; i + 1 < sizes.reward_layers; ++i) {
    const int width = sizes.reward_widths[i];
    layout.layer[kRewardLayer + i] =
        i == 0 ? shape(width, d, s, 1, 1) : shape(width, sizes.reward_widths[i - 1], 0, 1, 1);
  }
  return layout;
}

// Precision is not kInt8.
constexpr PackedLayout packed_layout(const ModelSizes& sizes, Precision precision) {
  PackedLayout layout = layer_shapes(sizes);
  layout.parts = precision == Precision::kFloat32 ? 2 : 1;
  layout_details::Cursor cursor{align_section(sizeof(PackedHeader))};
  for (int i = 0; i < layout.layers; ++i) {
    LayerLayout& layer = layout.layer[i];
    layer.tiles = cursor.take(layer.blocks * tiles_per_block(layer, layout.parts) * kTileBytes);
  }
  cursor.take(kTileSlack * kTileBytes);
  for (int i = 0; i < layout.layers; ++i) {
    LayerLayout& layer = layout.layer[i];
    layer.bias = cursor.take_floats(layer.blocks * layer.slots * kTile);
  }
  const int last = sizes.reward_layers - 1;
  const int inputs = last > 0 ? sizes.reward_widths[last - 1] : sizes.belief;
  layout.reward_row[0] = cursor.take_floats(padded16(inputs));
  layout.reward_row[1] = cursor.take_floats(last > 0 ? 0 : padded16(sizes.state));
  if (has_continuation(sizes)) {
    layout.logit_row[0] = cursor.take_floats(padded16(inputs));
    layout.logit_row[1] = cursor.take_floats(last > 0 ? 0 : padded16(sizes.state));
  }
  each_tensor(sizes, layout.arrays, [&](const char*, int, int rows, int columns, int& offset) {
    offset = cursor.take_floats(rows * (columns > 0 ? columns : 1));
  });
  layout.end = cursor.at;
  return layout;
}

}  // namespace planet::cuda
