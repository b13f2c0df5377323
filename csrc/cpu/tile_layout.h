// How the tile kernels (tile_layers.inc) and their packed weights (pack_tiles.cpp) are laid out.
//
// The inputs of products lie in pairs: a row holds two features of 16 candidates, [16][2]. The rows
// of a step are those of one block, in an order in which every layer reads neighbours:
//
//   x | one | belief | state | action | one      x is the input layer's output
//
// `one` stands for the bias: its weights are the bias in three parts of bf16, which are exact.
// A layer reads whole tiles of 16 rows; what lies behind its own rows meets weights of zero.
//
// Packed weights are tiles [16 features][32 inputs] in the order of their use: of a layer, for
// every 32 features, input tile by input tile, those of the first and of the second 16; a last
// block of up to 16 features is alone. Included by kernels (panel.h).
#pragma once

#include "panel.h"

namespace planet::cpu {

constexpr int kOnePairs = 2;
constexpr int kTilePairs = 16;

// Words before the tiles: the bound of below and padding.
constexpr int kTileHeader = 16;

static inline int tiles_of(int pairs) {
  return (pairs + kTilePairs - 1) / kTilePairs;
}

// First rows of a block, and tiles of inputs per layer.
struct TileShape {
  int one, belief, state, action, last_one, rows;
  int input, gates, new_x, new_h, prior_hidden, prior, reward[kMaxRewardLayers];
};

static inline TileShape tile_shape(const ModelSizes& sizes) {
  const int x = pairs_of(sizes.hidden), d = pairs_of(sizes.belief), s = pairs_of(sizes.state);
  const int a = pairs_of(sizes.action);
  TileShape shape{};
  shape.one = x;
  shape.belief = shape.one + kOnePairs;
  shape.state = shape.belief + d;
  shape.action = shape.state + s;
  shape.last_one = shape.action + a;
  shape.rows = shape.last_one + kOnePairs + kTilePairs;  // a tile may begin in the last row
  shape.input = tiles_of(s + a + kOnePairs);
  shape.gates = tiles_of(x + kOnePairs + d);
  shape.new_x = tiles_of(x + kOnePairs);
  shape.new_h = tiles_of(kOnePairs + d);
  shape.prior_hidden = d ? shape.new_h : shape.new_x;
  shape.prior = shape.new_x;
  for (int i = 0; i < sizes.reward_layers - 1; ++i) {
    shape.reward[i] = i ? tiles_of(pairs_of(sizes.reward_widths[i - 1]) + kOnePairs)
                        : tiles_of(kOnePairs + d + s);
  }
  return shape;
}

}  // namespace planet::cpu
