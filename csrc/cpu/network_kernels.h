// Between the portable part of networks (network.cpp) and the kernels per instruction set
// (network.inc). A panel is up to `vectors` * lanes rows of the batch, one row per SIMD lane; a map
// is stored as [pixel][channel][panel], the panels of a layer one behind the other. No header of
// the C++ library may be included here, see panel.h.
#pragma once

#include "../network.h"

namespace planet::cpu {

struct NetworkPanel {
  int64_t first;  // row
  int64_t count;  // rows; the lanes behind them are zero where gradients are concerned
  int vectors;
};

// What one layer does on one panel; maps are those of the panel.
struct NetworkStep {
  const NetworkLayer* layer;
  const float* packed;  // towards the outputs
  const float* input;
  float* output;
  int64_t count;  // rows
  float scale;    // of the outputs, before the activation's derivative
  bool elu;
  bool activated;           // applies the activation to the outputs
  bool subtracts;           // stores outputs minus what `output` held, 0 behind the rows
  const float* derivative;  // null, or activated outputs at whose place these gradients are
};

// One vector of rows at one pixel of the small map, and the first pixel of the large map that it
// meets. Feature i lies i * width behind.
struct NetworkVector {
  const float* small;
  const float* large;
  int64_t width;
};

// What a layer's weight gradients are summed over at a time. The sums are written or added to
// `out` [c, C, k, k].
struct NetworkSlab {
  const NetworkLayer* layer;
  const NetworkVector* vectors;
  int64_t count;
  float scale;
  bool adds;
  float* out;
};

struct NetworkKernels {
  int rows;       // channels per tile
  int vectors;    // per panel, at most
  int64_t slack;  // floats behind every map that are read and not used
  int64_t (*outer_tasks)(const NetworkLayer& layer);
  // small = large times weights, or large = small times weights.
  void (*gather)(const NetworkStep& step, int vectors);
  void (*scatter)(const NetworkStep& step, int vectors);
  // One of the tasks [0, outer_tasks(layer)), which have different weights.
  void (*outer)(const NetworkSlab& slab, int64_t task);
  // The sum over rows and pixels of channel c of a map of all panels.
  float (*channel_sum)(const float* map, int64_t pixels, int channels, int c,
                       const NetworkPanel* panels, int64_t panel_count);
  // Half the sum of squares of a map of one panel.
  double (*squares)(const float* map, int64_t features, int vectors);
  // [count][features] to [features][panel], 0 behind the rows, and back.
  void (*rows_in)(const float* rows, int64_t features, int64_t count, int vectors, float* map);
  void (*rows_out)(const float* map, int64_t features, int64_t count, int vectors, float* rows);
  // map *= derivative of the activation whose outputs are `activated`.
  void (*derive)(float* map, const float* activated, int64_t features, int vectors, bool elu);
};

}  // namespace planet::cpu
