// How a rollout is cut into blocks of candidates, and where such a block keeps what. Host code.
#pragma once

#include <stdint.h>

#include "../layout.h"
#include "../rollout_job.h"

namespace planet::cuda {

// Facts of a device that the choice of rows depends on.
struct DeviceLimits {
  int multiprocessors;
  int shared_bytes;  // that one block may have
};

// Shared memory of a block, offsets in bytes. Panels hold operands of products: 16-bit elements in
// the layout of activation_index, for float32 the high parts, and at +low the low parts.
struct SharedLayout {
  int belief[2];  // panel, of this step and of the next one
  int state;      // panel; the actions' panel follows without a gap, so that both are one operand
  int action;
  int wide[2];  // panels: outputs of hidden layers
  int low;
  int belief_exact;  // float32, in the order of the sums' fragments
  int noise[2];      // float [padded state][noise_stride], of this step and of the next one
  int noise_stride;  // avoids bank conflicts
  int partial;       // float [groups][rows]: terms of the reward, summed per 8 outputs; then those
                     // of the logit, with continuation
  int total;         // float [rows]: returns so far
  int going;         // float [rows]: product of the sigmoids so far; only with continuation
  int flags;         // uint32 [rows]: not zero where an operand is beyond the format
  int streams;       // uint32 [warps][streams_per_warp]: offsets of the weights in order of use
  int streams_per_warp;
  int flagged;  // uint32 [1 + rows]: how many rows are flagged, and their candidates
  int bytes;    // also enough for the exact path below `flagged`
};

struct TileShape {
  int rows;   // candidates of a block: 16, 32 or 64
  int warps;  // of a block
  int reward_groups;
  SharedLayout shared;
};

// The argument of the kernels of a rollout in tiles.
struct TileJob {
  RolloutJob rollout;
  TileShape shape;
};

// The shape with this many rows.
TileShape tile_shape(const ModelSizes& sizes, const PackedLayout& layout, int rows);

// Rows of a block that are expected to be fastest, or 0 if no block fits the shared memory (then
// the exact path serves all candidates). Results do not depend on the rows.
int choose_rows(const ModelSizes& sizes, const PackedLayout& layout, int64_t batch,
                int64_t candidates, const DeviceLimits& limits);

}  // namespace planet::cuda
