// Cuts networks into panels of rows, packs their weights, and lets the workers share the work.
#include "../network.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "schedule.h"

namespace planet::cpu {
namespace {

const NetworkKernels& kernels_of(const KernelSet& set) {
  return set.network;
}

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// ---- packing ----

int64_t gather_floats(const NetworkLayer& layer, int rows) {
  const int64_t inputs = int64_t{1} * layer.kernel * layer.kernel * layer.large_channels;
  return divide_up(layer.small_channels, rows) * rows * (1 + inputs);
}

int64_t scatter_floats(const NetworkLayer& layer, int rows) {
  const int64_t taps = int64_t{1} * layer.kernel * layer.kernel;
  const int64_t classes = int64_t{1} * layer.stride * layer.stride;
  return divide_up(layer.large_channels, rows) * rows * (classes + taps * layer.small_channels);
}

// One tile's bias[rows]; null: zeros.
void pack_bias(const float* bias, int first, int channels, int rows, float* out) {
  for (int r = 0; r < rows; ++r) {
    out[r] = bias != nullptr && first + r < channels ? bias[first + r] : 0.0f;
  }
}

void pack_gather(const NetworkLayer& layer, const float* weights, const float* bias, int rows,
                 float* out) {
  const int64_t taps = int64_t{1} * layer.kernel * layer.kernel;
  const int64_t stride = taps * layer.large_channels;  // between channels of the small map
  for (int first = 0; first < layer.small_channels; first += rows) {
    pack_bias(bias, first, layer.small_channels, rows, out);
    out += rows;
    const int count = std::min(rows, layer.small_channels - first);
    for (int64_t tap = 0; tap < taps; ++tap) {
      const float* from = weights + first * stride + tap;
      for (int c = 0; c < layer.large_channels; ++c, from += taps, out += rows) {
        for (int r = 0; r < count; ++r) out[r] = from[r * stride];
        for (int r = count; r < rows; ++r) out[r] = 0.0f;
      }
    }
  }
}

void pack_scatter(const NetworkLayer& layer, const float* weights, const float* bias, int rows,
                  float* out) {
  const int kernel = layer.kernel, stride = layer.stride;
  const int small = layer.small_channels, large = layer.large_channels;
  const int64_t taps = int64_t{1} * kernel * kernel, tiles = divide_up(large, rows);
  const auto met = [&](int first) { return int64_t{1} * (kernel - first + stride - 1) / stride; };
  std::vector<float*> of_class;
  for (int at = 0; at < stride * stride; ++at) {
    of_class.push_back(out);
    const int64_t tile = rows * (1 + met(at / stride) * met(at % stride) * small);
    for (int i = 0; i < tiles; ++i, out += tile) pack_bias(bias, i * rows, large, rows, out);
  }
  for (int c = 0; c < small; ++c) {  // outermost, as it is in the weights
    for (int y = 0; y < kernel; ++y) {
      for (int x = 0; x < kernel; ++x) {
        const int top = y % stride, left = x % stride;
        const int64_t down = met(top), across = met(left),
                      tile = rows * (1 + down * across * small);
        float* to = of_class[top * stride + left] +
                    rows * (1 + (y / stride * across + across - 1 - x / stride) * small + c);
        const float* from = weights + c * taps * large + y * kernel + x;
        for (int first = 0; first < large; first += rows, to += tile) {
          const int count = std::min(rows, large - first);
          for (int r = 0; r < count; ++r) to[r] = from[(first + r) * taps];
          for (int r = count; r < rows; ++r) to[r] = 0.0f;
        }
      }
    }
  }
}

// ---- one call ----

int64_t padded(int64_t floats) {
  return divide_up(floats, 16) * 16;
}

// Where a call's workspace and `kept` have what; the panels.
struct Plan {
  const Network& network;
  const KernelSet& set;
  int64_t rows, lanes_rows;  // rows, and rounded up to whole vectors
  std::vector<NetworkPanel> panels;

  Plan(const Network& given, int64_t all)
      : network(given),
        set(kernel_set(given.isa, Precision::kFloat32)),
        rows(all),
        lanes_rows(divide_up(all, set.lanes) * set.lanes) {
    const int64_t vectors = lanes_rows / set.lanes,
                  count = divide_up(vectors, kernels_of(set).vectors);
    int64_t first = 0;
    for (int64_t p = 0; p < count; ++p) {  // of nearly equal width
      const int64_t width = vectors / count + (p < vectors % count);
      const int64_t row = first * set.lanes;
      panels.push_back({row, std::min(width * set.lanes, rows - row), static_cast<int>(width)});
      first += width;
    }
  }

  const NetworkLayer& layer(int i) const { return network.layer[i]; }
  int last() const { return network.layers - 1; }
  // A map of all panels, and what is read behind it.
  int64_t map(int64_t features) const {
    return padded(lanes_rows * features + kernels_of(set).slack);
  }
  // Where layer i's outputs begin in `kept`.
  int64_t kept(int i) const {
    int64_t at = 0;
    for (int before = 0; before < i; ++before) at += map(layer(before).outputs());
    return at;
  }
  int64_t kept_floats() const { return kept(network.layers); }
  int64_t widest() const {  // the largest map between layers, or behind the last
    int64_t most = 0;
    for (int i = 0; i < network.layers; ++i) most = std::max(most, layer(i).outputs());
    return most;
  }
  int64_t packed_floats() const {  // of one layer, in the larger direction
    int64_t most = 0;
    for (int i = 0; i < network.layers; ++i) {
      most = std::max({most, gather_floats(layer(i), kernels_of(set).rows),
                       scatter_floats(layer(i), kernels_of(set).rows)});
    }
    return padded(most);
  }
  int64_t panel_rows() const { return int64_t{1} * kernels_of(set).vectors * set.lanes; }
};

// How much of the batch a layer's weight gradients are summed over at a time: enough that adding
// the sums to the others costs little, and so little that it stays in a cache for all weights.
struct SlabSize {
  int64_t panels;
  int rows;
};

SlabSize slab_size(const Plan& plan, const NetworkLayer& layer) {
  constexpr int kVectors = 48;
  const int side = layer.small_side;
  const int64_t row = int64_t{1} * side * kernels_of(plan.set).vectors;
  if (side * row < kVectors) return {divide_up(kVectors, side * row), side};
  return {1, static_cast<int>(divide_up(kVectors, row))};
}

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

// Panels whose inputs of the first layer are made at a time for its weights' gradients.
int64_t block_panels(const Plan& plan) {
  const int64_t group = slab_size(plan, plan.layer(0)).panels;
  return std::min<int64_t>(divide_up(16, group) * group, static_cast<int64_t>(plan.panels.size()));
}

// Calls body(i, worker) for every i below `count`, on all workers.
template <class Body>
void for_each(const Parallel& parallel, int64_t count, const Body& body) {
  struct Work {
    const Body& body;
    int64_t count;
    std::atomic<int64_t> next;
  } work{body, count, {0}};
  const auto run = [](void* context, int worker) {
    Work& mine = *static_cast<Work*>(context);
    for (int64_t i; (i = mine.next.fetch_add(1)) < mine.count;) mine.body(i, worker);
  };
  parallel.run(parallel.pool, static_cast<int>(std::min<int64_t>(parallel.workers, count)), run,
               &work);
}

void apply(const NetworkKernels& kernels, const NetworkStep& step, bool gathers, int vectors) {
  gathers ? kernels.gather(step, vectors) : kernels.scatter(step, vectors);
}

}  // namespace

int64_t network_kept(const Network& network, int64_t rows) {
  return Plan(network, rows).kept_floats();
}

int64_t network_workspace(const Network& network, int64_t rows, int workers) {
  const Plan plan(network, rows);
  const NetworkKernels& kernels = kernels_of(plan.set);
  const int64_t input = padded(plan.panel_rows() * plan.layer(0).inputs() + kernels.slack);
  int64_t packed = 0;
  for (int i = 0; i < network.layers; ++i) {
    const NetworkLayer& layer = network.layer[i];
    packed += padded(layer.transposed ? scatter_floats(layer, kernels.rows)
                                      : gather_floats(layer, kernels.rows));
  }
  const int64_t forward = packed + workers * input;
  const int64_t backward = plan.packed_floats() + 2 * plan.map(plan.widest()) +
                           std::max(block_panels(plan), int64_t{workers}) * input;
  return 16 + std::max(forward, backward);
}

double network_forward(const Network& network, const NetworkInputs& inputs, float* y, float* kept,
                       float* workspace, const Parallel& parallel) {
  const Plan plan(network, inputs.rows);
  const NetworkKernels& kernels = kernels_of(plan.set);
  float* const base = align_floats(workspace);
  std::vector<int64_t> packed_at(network.layers);
  int64_t end = 0;
  for (int i = 0; i < network.layers; ++i) {
    const NetworkLayer& layer = network.layer[i];
    packed_at[i] = end;
    const auto pack = layer.transposed ? pack_scatter : pack_gather;
    const auto floats = layer.transposed ? scatter_floats : gather_floats;
    pack(layer, inputs.weights[i], inputs.biases[i], kernels.rows, base + end);
    end += padded(floats(layer, kernels.rows));
  }
  const int64_t features = plan.layer(0).inputs(), outputs = plan.layer(plan.last()).outputs();
  const int64_t input_floats = padded(plan.panel_rows() * features + kernels.slack);
  std::vector<double> errors(plan.panels.size());
  for_each(parallel, static_cast<int64_t>(plan.panels.size()), [&](int64_t p, int worker) {
    const NetworkPanel& panel = plan.panels[p];
    float* in = base + end + worker * input_floats;
    kernels.rows_in(inputs.x + panel.first * features, features, panel.count, panel.vectors, in);
    for (int i = 0; i < network.layers; ++i) {
      const NetworkLayer& layer = network.layer[i];
      float* out = kept + plan.kept(i) + panel.first * layer.outputs();
      NetworkStep step{&layer,      base + packed_at[i],
                       in,          out,
                       panel.count, 1.0f,
                       network.elu, i < plan.last() || network.activated,
                       false,       nullptr};
      if (i == plan.last() && inputs.target != nullptr) {
        step.subtracts = true;
        kernels.rows_in(inputs.target + panel.first * outputs, outputs, panel.count, panel.vectors,
                        out);
      }
      apply(kernels, step, !layer.transposed, panel.vectors);
      in = out;
    }
    if (inputs.target != nullptr) {
      errors[p] = kernels.squares(in, outputs, panel.vectors);
    } else {
      kernels.rows_out(in, outputs, panel.count, panel.vectors, y + panel.first * outputs);
    }
  });
  double error = 0.0;
  for (const double each : errors) error += each;
  return error;
}

void network_backward(const Network& network, const NetworkInputs& inputs, const float* kept,
                      const NetworkGradients& gradients, float* workspace,
                      const Parallel& parallel) {
  const Plan plan(network, inputs.rows);
  const NetworkKernels& kernels = kernels_of(plan.set);
  const int64_t panels = static_cast<int64_t>(plan.panels.size());
  float* const packed = align_floats(workspace);
  float* buffers[] = {packed + plan.packed_floats(), nullptr};
  buffers[1] = buffers[0] + plan.map(plan.widest());
  float* const inputs_map = buffers[1] + plan.map(plan.widest());
  const int64_t features = plan.layer(0).inputs();
  const int64_t input_floats = padded(plan.panel_rows() * features + kernels.slack);

  const float* now = kept + plan.kept(plan.last());  // gradients of a layer's sums
  float scale = gradients.error;
  std::vector<NetworkVector> vectors;
  if (gradients.y != nullptr) {
    const int64_t outputs = plan.layer(plan.last()).outputs();
    scale = 1.0f;
    float* map = buffers[network.layers % 2];
    for_each(parallel, panels, [&](int64_t p, int) {
      const NetworkPanel& panel = plan.panels[p];
      float* here = map + panel.first * outputs;
      kernels.rows_in(gradients.y + panel.first * outputs, outputs, panel.count, panel.vectors,
                      here);
      if (network.activated) {
        kernels.derive(here, now + panel.first * outputs, outputs, panel.vectors, network.elu);
      }
    });
    now = map;
  }
  for (int i = plan.last(); i >= 0; --i) {
    const NetworkLayer& layer = network.layer[i];
    const SlabSize size = slab_size(plan, layer);
    const int64_t block = i > 0 ? panels : block_panels(plan);
    for (int64_t first = 0; first < panels; first += block) {
      std::vector<NetworkPanel> here(plan.panels.begin() + first,
                                     plan.panels.begin() + std::min(first + block, panels));
      const float* before = i > 0 ? kept + plan.kept(i - 1) : inputs_map;
      const float* gradient = now;
      if (i == 0) {  // whose inputs are not kept as a map
        const int64_t start = here[0].first;
        gradient += start * layer.outputs();
        for (NetworkPanel& panel : here) panel.first -= start;
        for_each(parallel, static_cast<int64_t>(here.size()), [&](int64_t p, int) {
          const NetworkPanel& panel = here[p];
          kernels.rows_in(inputs.x + (start + panel.first) * features, features, panel.count,
                          panel.vectors, inputs_map + panel.first * features);
        });
      }
      NetworkSlab slab{&layer, nullptr, 0, scale, first > 0, gradients.weights[i]};
      const int64_t end = static_cast<int64_t>(here.size());
      for (int64_t p = 0; p < end; p += size.panels) {
        for (int y = 0; y < layer.small_side; y += size.rows) {
          vectors.clear();
          for (int64_t each = p; each < std::min(p + size.panels, end); ++each) {
            list_vectors(layer, plan.set.lanes, layer.transposed ? before : gradient,
                         layer.transposed ? gradient : before, here[each], y,
                         std::min(y + size.rows, layer.small_side), vectors);
          }
          slab.vectors = vectors.data();
          slab.count = static_cast<int64_t>(vectors.size());
          for_each(parallel, kernels.outer_tasks(layer),
                   [&](int64_t task, int) { kernels.outer(slab, task); });
          slab.adds = true;
        }
      }
    }
    const int64_t pixels = layer.outputs() / layer.channels();
    for_each(parallel, layer.channels(), [&](int64_t c, int) {
      gradients.biases[i][c] =
          scale * kernels.channel_sum(now, pixels, layer.channels(), static_cast<int>(c),
                                      plan.panels.data(), panels);
    });
    // Inputs.
    if (i == 0 && gradients.x == nullptr) break;
    (layer.transposed ? pack_gather : pack_scatter)(layer, inputs.weights[i], nullptr, kernels.rows,
                                                    packed);
    float* next = buffers[i % 2];
    for_each(parallel, panels, [&](int64_t p, int worker) {
      const NetworkPanel& panel = plan.panels[p];
      const int64_t in = panel.first * layer.inputs();
      NetworkStep step{&layer,      packed,      now + panel.first * layer.outputs(),
                       next + in,   panel.count, scale,
                       network.elu, false,       false,
                       nullptr};
      if (i > 0) {
        step.derivative = kept + plan.kept(i - 1) + in;
      } else {
        step.output = inputs_map + worker * input_floats;
      }
      apply(kernels, step, layer.transposed, panel.vectors);
      if (i == 0) {
        kernels.rows_out(step.output, features, panel.count, panel.vectors, gradients.x + in);
      }
    });
    now = next;
    scale = 1.0f;
  }
}

}  // namespace planet::cpu
