#include "shape.h"

#include <algorithm>

#include "../exact.h"

namespace planet::cuda {
namespace {

template <class Integer>
Integer divide_up(Integer a, int b) {
  return (a + b - 1) / b;
}

// 16 warps have 128 registers per thread. The sums of 64 rows need more: 8 warps have 255.
int max_warps(int rows) {
  return rows <= 32 ? 16 : 8;
}

// Streams of a warp in one step: one per operand of every block that is not contiguous with the
// other operand. Warp 0 has the most.
int streams_per_warp(const PackedLayout& layout, int warps) {
  int count = 0;
  for (int i = 0; i < layout.layers; ++i) {
    const LayerLayout& layer = layout.layer[i];
    const bool two = i != kInputLayer && layer.steps[0] > 0 && layer.steps[1] > 0;
    count += divide_up(layer.blocks, warps) * (two ? 2 : 1);
  }
  return count;
}

// Widths of the two panels of hidden layers, in elements. The prior's hidden layer may overwrite
// its input unless that is its operand (no belief); hidden reward layers take turns, the last one
// stores nothing.
void wide_panels(const ModelSizes& sizes, int (&width)[2]) {
  width[0] = sizes.hidden;
  width[1] = sizes.belief > 0 ? 0 : sizes.hidden;
  for (int i = 0; i + 2 < sizes.reward_layers; ++i) {
    width[i % 2] = std::max(width[i % 2], sizes.reward_widths[i]);
  }
}

// Time of one weight tile in clocks of a multiprocessor. Estimates for an H200, not measured:
//   matrix units   two products of 16 rows take 6.26 clocks of one of four units (lead: 64 % of the
//                  peak), float32 three times that; with 64 rows 13 blocks of outputs leave some of
//                  8 warps idle
//   ingest         512 bytes at 64 a clock and multiprocessor
//   L2             512 bytes at 2970 a clock for all
//   sums           activations and barriers, per row
double tile_clocks(int rows, int parts, int64_t active) {
  const double units = rows / 16 * (parts == 2 ? 3.0 : 1.0) * 3.13 * (rows == 64 ? 1.2 : 1.0);
  const double ingest = 8.0 * parts, l2 = 0.172 * parts * static_cast<double>(active);
  return std::max({units, ingest, l2}) + rows / 16 * 1.5;
}

}  // namespace

TileShape tile_shape(const ModelSizes& sizes, const PackedLayout& layout, int rows) {
  TileShape out{};
  out.rows = rows;
  int blocks = 1;
  for (int i = 0; i < layout.layers; ++i) blocks = std::max(blocks, layout.layer[i].blocks);
  out.warps = std::min(blocks, max_warps(rows));

  SharedLayout& shared = out.shared;
  int at = 0;
  const auto take = [&at](int bytes) {
    const int here = at;
    at += (bytes + 127) / 128 * 128;
    return here;
  };
  const auto take_panel = [&](int features) { return take(padded16(features) * rows * 2); };
  int wide[2];
  wide_panels(sizes, wide);
  for (int& panel : shared.belief) panel = take_panel(sizes.belief);
  shared.state = take_panel(sizes.state);
  shared.action = take_panel(sizes.action);
  for (int i = 0; i < 2; ++i) shared.wide[i] = take_panel(wide[i]);
  shared.low = at;
  if (layout.parts == 2) at *= 2;
  shared.belief_exact = take(padded16(sizes.belief) * rows * 4);
  shared.noise_stride = rows + 8;
  for (int& noise : shared.noise) {
    noise = take(layout.layer[kPriorLayer].blocks * kTile / 2 * shared.noise_stride * 4);
  }
  const int last = sizes.reward_layers - 1;
  out.reward_groups = last > 0
                          ? layout.layer[kRewardLayer + last - 1].blocks * 2
                          : (layout.layer[kGruLayer].blocks + layout.layer[kPriorLayer].blocks) * 2;
  shared.partial = take(out.reward_groups * sizes.reward_widths[last] * rows * 4);
  shared.total = take(rows * 4);
  shared.going = has_continuation(sizes) ? take(rows * 4) : 0;
  shared.flags = take(rows * 4);
  shared.streams_per_warp = streams_per_warp(layout, out.warps);
  shared.streams = take(shared.streams_per_warp * out.warps * 4);
  at = std::max(at, exact_shared_bytes(sizes));
  shared.flagged = take((1 + rows) * 4);
  shared.bytes = at;
  return out;
}

int choose_rows(const ModelSizes& sizes, const PackedLayout& layout, int64_t batch,
                int64_t candidates, const DeviceLimits& limits) {
  int best = 0;
  double least = 0.0;
  for (int rows = 16; rows <= (layout.parts == 2 ? 32 : 64); rows *= 2) {
    if (tile_shape(sizes, layout, rows).shared.bytes > limits.shared_bytes) break;
    const int64_t blocks = batch * divide_up(candidates, rows);
    const int64_t active = std::min<int64_t>(blocks, limits.multiprocessors);
    const int64_t waves = divide_up(blocks, limits.multiprocessors);
    const double clocks = static_cast<double>(waves) * tile_clocks(rows, layout.parts, active);
    if (best == 0 || clocks < least) best = rows, least = clocks;
  }
  return best;
}

}  // namespace planet::cuda
