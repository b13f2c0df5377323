// Networks backward: layer by layer from the last, all panels at a time.
#include "../network.h"
#include "network_pack.h"
#include "network_plan.h"
#include "schedule.h"

namespace planet::cpu {
namespace {

// Appends the vectors of some rows of the small map's pixels of a panel.
void list_vectors(const NetworkLayer& layer, int lanes, const float* small, const float* large,
                  const NetworkPanel& panel, int first_row, int last_row,
                  std::vector<NetworkVector>& out) {
  const int64_t width = int64_t{1} * panel.vectors * lanes;
  small += panel.first * layer.small();
  large += panel.first * layer.large();
  for (int64_t y = first_row; y < last_row; ++y) {
    for (int64_t x = 0; x < layer.small_side; ++x) {
      const int64_t from = (y * layer.small_side + x) * layer.small_channels;
      const int64_t to = layer.stride * (y * layer.large_side + x) * layer.large_channels;
      for (int64_t v = 0; v < width; v += lanes) {
        out.push_back({small + from * width + v, large + to * width + v, width});
      }
    }
  }
}

class Backward {
 public:
  Backward(const Network& network, const NetworkInputs& inputs, const float* kept,
           const NetworkGradients& gradients, float* workspace, const Parallel& parallel)
      : inputs_(inputs),
        kept_(kept),
        gradients_(gradients),
        parallel_(parallel),
        plan_(network, inputs.rows),
        kernels_(plan_.kernels),
        packed_(align_floats(workspace)),
        buffers_{packed_ + plan_.packed_floats(),
                 packed_ + plan_.packed_floats() + plan_.gradients(0)},
        inputs_map_(buffers_[1] + plan_.gradients(1)) {}

  void run() {
    const float* outputs = outputs_of(plan_.last());
    now_ = gradients_.y != nullptr ? output_gradients(outputs) : outputs;
    scale_ = gradients_.y != nullptr ? 1.0f : gradients_.error;
    for (int i = plan_.last(); i >= 0; --i) {
      i > 0 ? sum_slabs(i, plan_.panels, outputs_of(i - 1), now_, false) : first_weights();
      sum_biases(i);
      if (i > 0 || gradients_.x != nullptr) now_ = input_gradients(i);
      scale_ = 1.0f;
    }
  }

 private:
  const float* outputs_of(int i) const { return kept_ + plan_.kept(i); }

  // The map of gradients of the last layer's sums.
  const float* output_gradients(const float* activated) {
    const int64_t outputs = plan_.outputs();
    const Network& network = plan_.network;
    float* map = buffers_[network.layers % 2];
    for_each(parallel_, plan_.panel_count(), [&](int64_t p, int) {
      const NetworkPanel& panel = plan_.panels[p];
      const int64_t at = panel.first * outputs;
      kernels_.rows_in(gradients_.y + at, outputs, panel.count, panel.vectors, map + at);
      if (network.activated) {
        kernels_.derive(map + at, activated + at, outputs, panel.vectors, network.elu);
      }
    });
    return map;
  }

  // Gradients of the first layer's weights, whose inputs are not kept as a map: block by block.
  void first_weights() {
    const int64_t features = plan_.features(), block = plan_.block_panels(parallel_.workers);
    for (int64_t first = 0; first < plan_.panel_count(); first += block) {
      const auto begin = plan_.panels.begin() + first;
      std::vector<NetworkPanel> here(begin, begin + std::min(block, plan_.panel_count() - first));
      const int64_t start = here[0].first;
      for (NetworkPanel& panel : here) panel.first -= start;
      for_each(parallel_, static_cast<int64_t>(here.size()), [&](int64_t p, int) {
        const NetworkPanel& panel = here[p];
        kernels_.rows_in(inputs_.x + (start + panel.first) * features, features, panel.count,
                         panel.vectors, inputs_map_ + panel.first * features);
      });
      sum_slabs(0, here, inputs_map_, now_ + start * plan_.layer(0).outputs(), first > 0);
    }
  }

  // Sums the weight gradients of layer i over panels of maps of its inputs and of the gradients.
  void sum_slabs(int i, const std::vector<NetworkPanel>& panels, const float* before,
                 const float* gradient, bool adds) {
    const NetworkLayer& layer = plan_.layer(i);
    const SlabSize size = slab_size(plan_, layer);
    const int64_t end = static_cast<int64_t>(panels.size());
    NetworkSlab slab{&layer, nullptr, 0, scale_, adds, gradients_.weights[i]};
    for (int64_t p = 0; p < end; p += size.panels) {
      for (int y = 0; y < layer.small_side; y += size.rows) {
        vectors_.clear();
        for (int64_t each = p; each < std::min(p + size.panels, end); ++each) {
          list_vectors(layer, plan_.set.lanes, layer.transposed ? before : gradient,
                       layer.transposed ? gradient : before, panels[each], y,
                       std::min(y + size.rows, layer.small_side), vectors_);
        }
        slab.vectors = vectors_.data();
        slab.count = static_cast<int64_t>(vectors_.size());
        for_each(parallel_, kernels_.outer_tasks(layer),
                 [&](int64_t task, int) { kernels_.outer(slab, task); });
        slab.adds = true;
      }
    }
  }

  void sum_biases(int i) {
    const NetworkLayer& layer = plan_.layer(i);
    const int64_t pixels = layer.outputs() / layer.channels();
    for_each(parallel_, layer.channels(), [&](int64_t c, int) {
      gradients_.biases[i][c] =
          scale_ * kernels_.channel_sum(now_, pixels, layer.channels(), static_cast<int>(c),
                                        plan_.panels.data(), plan_.panel_count());
    });
  }

  // The map of gradients of the sums of layer i - 1; of i = 0, writes the inputs' instead.
  const float* input_gradients(int i) {
    const NetworkLayer& layer = plan_.layer(i);
    const auto pack = layer.transposed ? pack_gather : pack_scatter;
    pack(layer, inputs_.weights[i], nullptr, kernels_.rows, packed_);
    float* next = buffers_[i % 2];
    for_each(parallel_, plan_.panel_count(), [&](int64_t p, int worker) {
      const NetworkPanel& panel = plan_.panels[p];
      const int64_t in = panel.first * layer.inputs();
      NetworkStep step{&layer,
                       packed_,
                       now_ + panel.first * layer.outputs(),
                       next + in,
                       panel.count,
                       scale_,
                       plan_.network.elu,
                       false,
                       false,
                       nullptr};
      if (i > 0) {
        step.derivative = outputs_of(i - 1) + in;
      } else {
        step.output = inputs_map_ + worker * plan_.input_floats();
      }
      apply(kernels_, step, layer.transposed, panel.vectors);
      if (i == 0) {
        kernels_.rows_out(step.output, layer.inputs(), panel.count, panel.vectors,
                          gradients_.x + in);
      }
    });
    return next;
  }

  const NetworkInputs& inputs_;
  const float* const kept_;
  const NetworkGradients& gradients_;
  const Parallel& parallel_;
  const NetworkPlan plan_;
  const NetworkKernels& kernels_;
  float* const packed_;
  float* const buffers_[2];
  float* const inputs_map_;
  const float* now_ = nullptr;  // the map of gradients of a layer's sums, but for the scale
  float scale_ = 1.0f;
  std::vector<NetworkVector> vectors_;
};

}  // namespace

void network_backward(const Network& network, const NetworkInputs& inputs, const float* kept,
                      const NetworkGradients& gradients, float* workspace,
                      const Parallel& parallel) {
  Backward(network, inputs, kept, gradients, workspace, parallel).run();
}

}  // namespace planet::cpu
