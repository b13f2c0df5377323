// How a call of network.h is cut: panels of rows, the arrays of `kept` and workspace, the workers'
// shares.
#pragma once

#include <algorithm>
#include <vector>

#include "schedule.h"

namespace planet::cpu {

inline int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

inline int64_t padded(int64_t floats) {
  return divide_up(floats, 16) * 16;
}

struct NetworkPlan {
  const Network& network;
  const KernelSet& set;
  const NetworkKernels& kernels;
  int64_t rows, lanes_rows;  // rows, and rounded up to whole vectors
  std::vector<NetworkPanel> panels;

  NetworkPlan(const Network& network, int64_t rows);

  const NetworkLayer& layer(int i) const { return network.layer[i]; }
  int last() const { return network.layers - 1; }
  int64_t panel_count() const { return static_cast<int64_t>(panels.size()); }
  int64_t features() const { return layer(0).inputs(); }
  int64_t outputs() const { return layer(last()).outputs(); }

  // Floats of a map of all panels, with what is read behind it.
  int64_t map(int64_t features) const { return padded(lanes_rows * features + kernels.slack); }
  // Floats of the first layer's inputs of one panel, likewise.
  int64_t input_floats() const {
    return padded(int64_t{1} * kernels.vectors * set.lanes * features() + kernels.slack);
  }
  // Where layer i's outputs begin in `kept`; of i = layers, where it ends.
  int64_t kept(int i) const;
  // Floats of the two maps between which gradients go from layer to layer: those of layer i's
  // inputs are in the map of i % 2, and those of the last layer's outputs where the next ones would
  // be.
  int64_t gradients(int parity) const;
  // Floats of one layer's packed weights, in the larger direction.
  int64_t packed_floats() const;
  // Panels whose inputs of the first layer are made at a time for its weights' gradients: few,
  // which a cache holds, but one per worker.
  int64_t block_panels(int workers) const;
};

// How much of the batch a layer's weight gradients are summed over at a time: enough that adding
// the sums to the others costs little, and so little that it stays in a cache for all weights.
struct SlabSize {
  int64_t panels;
  int rows;  // of the small map's pixels
};

SlabSize slab_size(const NetworkPlan& plan, const NetworkLayer& layer);

// Computes one layer of one panel.
inline void apply(const NetworkKernels& kernels, const NetworkStep& step, bool gathers,
                  int vectors) {
  gathers ? kernels.gather(step, vectors) : kernels.scatter(step, vectors);
}

}  // namespace planet::cpu
