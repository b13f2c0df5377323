// Packs the filter of frames, and takes frames through it.
#include "../filter_step.h"

#include <cstring>
#include <vector>

#include "../filter.h"
#include "../images.h"
#include "../normals.h"
#include "../philox.h"
#include "schedule.h"

namespace planet::cpu {
namespace {

constexpr int64_t kSlack = 16;  // floats behind a map that are read and not used

const KernelSet& kernels_of(Isa isa) {
  return kernel_set(isa, Precision::kFloat32);
}

int64_t round_up(int64_t floats) {
  return (floats + 15) / 16 * 16;
}

// Layer i of the encoder; behind the last one comes the embedding's share of the posterior's hidden
// layer, the bias included.
Convolution convolution(const ModelSizes& sizes, const EncoderSizes& encoder, int i) {
  const bool dense = i == encoder.layers;
  Convolution out{};
  out.side = encoder_side(encoder, i - 1);
  out.channels = encoder_channels(encoder, i - 1);
  out.kernel = dense ? out.side : encoder.layer[i].kernel;
  out.stride = dense ? 1 : encoder.layer[i].stride;
  out.out_side = dense ? 1 : encoder_side(encoder, i);
  out.outputs = dense ? sizes.hidden : encoder.layer[i].channels;
  out.activated = !dense;
  out.elu = sizes.elu;
  return out;
}

FilterSizes step_sizes(const ModelSizes& sizes, int64_t batch) {
  return {1, batch, sizes.belief, sizes.state, sizes.action, sizes.hidden, sizes.elu};
}

// Where the packed weights of layer i begin, in floats; behind the dense one those of the filter.
int64_t packed_start(const ModelSizes& sizes, const EncoderSizes& encoder, Isa isa, int i) {
  int64_t at = 0;
  for (int before = 0; before < i; ++before) {
    const Convolution layer = convolution(sizes, encoder, before);
    at += kernels_of(isa).encoder.packed(inputs_of(layer), layer.outputs);
  }
  return at;
}

// The parts of the workspace.
struct Space {
  float* map[2];   // inputs of the layers by turns: of even ones, of odd ones
  float* share;    // [B, M]
  float* noise;    // [B, S]
  float* kept;     // of the filter
  float* scratch;  // of each worker
  int64_t scratch_stride = 0;
  int64_t size = 16;  // floats

  Space(const FilterModel& model, int64_t batch, int workers, void* base) {
    float* at = base == nullptr ? nullptr : align_floats(static_cast<float*>(base));
    const auto take = [&](int64_t floats) {
      float* here = at;
      if (at != nullptr) at += round_up(floats);
      size += round_up(floats);
      return here;
    };
    int64_t most[2] = {};
    const KernelSet& kernels = kernels_of(model.isa);
    for (int i = 0; i <= model.encoder.layers; ++i) {
      const Convolution layer = convolution(model.sizes, model.encoder, i);
      most[i % 2] = std::max(most[i % 2], batch * map_of(layer) + kSlack);
      const int64_t pixels = batch * layer.out_side * layer.out_side;
      const int64_t group = std::min(pixels, kGroup * kernels.encoder.rows);
      scratch_stride =
          std::max(scratch_stride, round_up(kernels.encoder.scratch(inputs_of(layer), group)));
    }
    for (int i = 0; i < 2; ++i) map[i] = take(most[i]);
    share = take(batch * model.sizes.hidden);
    noise = take(batch * model.sizes.state);
    kept = take(kernels.filter.kept(step_sizes(model.sizes, batch)));
    scratch = take(workers * scratch_stride);
  }

  static constexpr int64_t kGroup = 4;  // tiles of pixels that share what they read of the weights
};

constexpr int64_t kProducts = 400'000;  // that occupy a worker: some 5 microseconds

// Takes all rows through one layer.
void convolve(const KernelSet& kernels, const Convolution& layer, const Space& space,
              const Parallel& everybody) {
  const Parallel parallel =
      occupied(everybody, layer.pixels * inputs_of(layer) * layer.outputs, kProducts);
  const int64_t tiles = (layer.pixels + kernels.encoder.rows - 1) / kernels.encoder.rows;
  const int64_t blocks = kernels.encoder.blocks(layer.outputs);
  // Fewer tiles at a time where there would not be enough for everybody.
  const int64_t share = tiles * blocks / (int64_t{4} * parallel.workers);
  const int64_t group = std::clamp(share, int64_t{1}, Space::kGroup) * kernels.encoder.rows;
  const int64_t groups = (layer.pixels + group - 1) / group;
  for_each(parallel, groups * blocks, [&](int64_t task, int worker) {
    const int64_t first = task % groups * group;
    kernels.encoder.convolve(layer, first, std::min(group, layer.pixels - first), task / groups,
                             space.scratch + worker * space.scratch_stride);
  });
}

void encode(const FilterModel& model, int64_t batch, const Space& space, const Parallel& parallel) {
  const KernelSet& kernels = kernels_of(model.isa);
  const auto* packed = static_cast<const float*>(model.packed);
  for (int i = 0; i <= model.encoder.layers; ++i) {
    Convolution layer = convolution(model.sizes, model.encoder, i);
    layer.packed = packed;
    packed += kernels.encoder.packed(inputs_of(layer), layer.outputs);
    layer.pixels = batch * layer.out_side * layer.out_side;
    layer.input = space.map[i % 2];
    layer.output = layer.activated ? space.map[(i + 1) % 2] : space.share;
    convolve(kernels, layer, space, parallel);
  }
}

// out [rows][pixels][channels] = rows of [channels][pixels], each `stride` floats behind the other.
std::vector<float> channels_last(const float* weights, int64_t rows, int64_t stride,
                                 int64_t channels, int64_t pixels) {
  std::vector<float> out;
  out.reserve(static_cast<size_t>(rows * channels * pixels));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t p = 0; p < pixels; ++p) {
      for (int64_t c = 0; c < channels; ++c) {
        out.push_back(weights[row * stride + c * pixels + p]);
      }
    }
  }
  return out;
}

}  // namespace

int64_t filter_packed_bytes(const ModelSizes& sizes, const EncoderSizes& encoder, Isa isa) {
  const int64_t floats = packed_start(sizes, encoder, isa, encoder.layers + 1) +
                         kernels_of(isa).filter.packed(step_sizes(sizes, 1));
  return floats * static_cast<int64_t>(sizeof(float));
}

void pack_filter(const ModelSizes& sizes, const EncoderSizes& encoder, const ModelWeights& model,
                 const FilterWeights& weights, Isa isa, void* packed) {
  const KernelSet& kernels = kernels_of(isa);
  auto* at = static_cast<float*>(packed);
  // Pieces are aligned, and what is left between them is written too.
  std::memset(packed, 0, static_cast<size_t>(filter_packed_bytes(sizes, encoder, isa)));
  const int64_t width = sizes.belief + embedding_size(encoder);
  for (int i = 0; i <= encoder.layers; ++i) {
    const Convolution layer = convolution(sizes, encoder, i);
    const int64_t inputs = inputs_of(layer);
    const bool dense = i == encoder.layers;
    const float* from = dense ? weights.posterior_hidden_weight + sizes.belief  // behind the belief
                              : weights.encoder_weights[i];
    const auto turned = channels_last(from, layer.outputs, dense ? width : inputs, layer.channels,
                                      layer.kernel * layer.kernel);
    kernels.encoder.pack(turned.data(),
                         dense ? weights.posterior_hidden_bias : weights.encoder_biases[i], inputs,
                         layer.outputs, at);
    at += kernels.encoder.packed(inputs, layer.outputs);
  }
  const auto of_belief =
      channels_last(weights.posterior_hidden_weight, sizes.hidden, width, sizes.belief, 1);
  FilterJob job{};
  job.sizes = step_sizes(sizes, 1);
  job.parameters = {model.input_weight,  model.input_bias,         model.gru_weight_ih,
                    model.gru_weight_hh, model.gru_bias_ih,        model.gru_bias_hh,
                    of_belief.data(),    weights.posterior_weight, weights.posterior_bias};
  job.packed = at;
  kernels.filter.pack(job);
}

int64_t filter_step_workspace(const FilterModel& model, int64_t batch, int workers) {
  double largest = 0.0;  // of the maps; nothing else comes near an overflow
  for (int i = 0; i <= model.encoder.layers; ++i) {
    const Convolution layer = convolution(model.sizes, model.encoder, i);
    largest = std::max(largest, static_cast<double>(batch) * static_cast<double>(map_of(layer)));
  }
  if (largest >= 0x1p58) return -1;
  return Space(model, batch, workers, nullptr).size * static_cast<int64_t>(sizeof(float));
}

void filter_step(const FilterModel& model, const FilterStep& step, void* workspace,
                 const Parallel& parallel, Timeline* timeline) {
  const StageMark whole(timeline, Stage::kFilter);
  const ModelSizes& sizes = model.sizes;
  const KernelSet& kernels = kernels_of(model.isa);
  const Space space(model, step.batch, parallel.workers, workspace);
  {
    const StageMark mark(timeline, Stage::kImages);
    const int64_t side = model.encoder.image_size;
    images(model.isa,
           {1, step.batch, side * side * 3, model.encoder.bit_depth, step.frames, step.seeds,
            space.map[0]},
           parallel);
  }
  {
    const StageMark mark(timeline, Stage::kEncoder);
    encode(model, step.batch, space, parallel);
  }
  FilterJob job{};
  job.sizes = step_sizes(sizes, step.batch);
  job.stddev_floor = stddev_floor(sizes, model.min_stddev);
  job.start_belief = step.belief;
  job.start_state = step.state;
  job.share = space.share;
  job.action = step.action;
  job.noise = space.noise;
  job.out = {step.next_belief, step.next_state, nullptr, nullptr};
  job.kept = space.kept;
  const int64_t start = packed_start(sizes, model.encoder, model.isa, model.encoder.layers + 1);
  // The kernels only read it.
  job.packed = const_cast<float*>(static_cast<const float*>(model.packed)) + start;
  const int64_t groups = (step.batch + kernels.filter.rows - 1) / kernels.filter.rows;
  {
    const StageMark mark(timeline, Stage::kBelief);
    for_each(parallel, groups, [&](int64_t i, int) { kernels.filter.step_belief(job, i, 1); });
  }
  const StageMark mark(timeline, Stage::kPosterior);
  for (int64_t b = 0; b < step.batch; ++b) {
    normals(model.isa, step.seeds[b], {kStreamPosterior, 0, 0, 0}, 1, sizes.state,
            space.noise + b * sizes.state);
  }
  for_each(parallel, groups, [&](int64_t i, int) { kernels.filter.step_state(job, i, 1); });
}

}  // namespace planet::cpu
