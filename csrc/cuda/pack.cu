// Packs the weights on the device; layout.h says into what.
#include "layout.h"

#include "intrinsics.cuh"
#include "launch.h"

namespace planet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMeasureThreads = 1024;
constexpr int kCopyBlocks = 64;  // per array

// Columns from `column` on of a row-major matrix with `width` columns.
struct Matrix {
  const float* weight;
  int width, column;
};

struct LayerSource {
  Matrix matrix[2];      // one per operand
  const float* bias[2];  // the second one is the GRU's bias of the belief, otherwise null
};

struct Array {
  const float* from;
  int at, count;
};

struct PackJob {
  PackedLayout layout;
  LayerSource source[kMaxLayers];
  const float* last_row[4];  // of the last reward layer: the reward's operands, then the logit's
  int last_inputs[2];        // of the operands
  Array array[kMostTensors];
  int arrays;
  bool split;  // float32: sums carry kActivationScale
  unsigned char* packed;

  PLANET_HOST_DEVICE PackedHeader& header() const {
    return *reinterpret_cast<PackedHeader*>(packed);
  }
  PLANET_HOST_DEVICE float* floats(int at) const { return reinterpret_cast<float*>(packed + at); }
};

__device__ float power_of_two(int exponent) {
  return __uint_as_float(static_cast<uint32_t>(exponent + 127) << 23);
}

// e with 256 <= largest * 2^e < 512, 0 without weights; within [-119, 100], so that 2^e and its
// inverse are normal numbers.
__device__ int scale_exponent(uint32_t largest_bits) {
  if (largest_bits == 0) return 0;
  const int exponent = 135 - static_cast<int>(largest_bits >> 23);
  return exponent > 100 ? 100 : exponent;
}

// One block per layer: the largest magnitude, and from it the scale.
__global__ void __launch_bounds__(kMeasureThreads) measure_layers(const PackJob job) {
  const LayerLayout& layer = job.layout.layer[blockIdx.x];
  uint32_t largest = 0;
  for (int operand = 0; operand < 2; ++operand) {
    const Matrix& matrix = job.source[blockIdx.x].matrix[operand];
    const int inputs = layer.inputs[operand], count = layer.gates * layer.outputs * inputs;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kMeasureThreads) {
      const float w = matrix.weight[i / inputs * matrix.width + matrix.column + i % inputs];
      largest = max(largest, __float_as_uint(w) & 0x7FFFFFFFu);
    }
  }
  uint32_t* of_warp = reinterpret_cast<uint32_t*>(shared_memory());
  for (int offset = 16; offset > 0; offset /= 2) {
    largest = max(largest, __shfl_xor_sync(kFullWarp, largest, offset));
  }
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = largest;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kMeasureThreads / 32; ++warp) largest = max(largest, of_warp[warp]);
  const int exponent = scale_exponent(largest);
  job.header().scale[blockIdx.x] = power_of_two(exponent);
  job.header().unscale[blockIdx.x] =
      power_of_two(-exponent) * (job.split ? 1.0f / kActivationScale : 1.0f);
}

// The scaled weight from input k of an operand to output n of a gate; 0 in the padding.
__device__ float scaled_weight(const PackJob& job, int layer, int operand, int gate, int n, int k) {
  const LayerLayout& shape = job.layout.layer[layer];
  const int row = weight_row(layer, shape, gate, n);
  if (row < 0 || k >= shape.inputs[operand]) return 0.0f;
  const Matrix& matrix = job.source[layer].matrix[operand];
  return matrix.weight[row * matrix.width + matrix.column + k] * job.header().scale[layer];
}

// Part 0 is the rounded weight, part 1 what the rounding left.
template <class Type>
__device__ uint32_t pack_part(float low, float high, int part) {
  const uint32_t rounded = pack2<Type>(low, high);
  if (part == 0) return rounded;
  float rounded_low, rounded_high;
  unpack2<Type>(rounded, rounded_low, rounded_high);
  return pack2<Type>(low - rounded_low, high - rounded_high);
}

// Register i of `lane`'s four in tile `index` of a layer.
template <class Type>
__device__ uint32_t tile_register(const PackJob& job, int layer, int index, int lane, int i) {
  const LayerLayout& shape = job.layout.layer[layer];
  const int parts = job.layout.parts, per_step = shape.gates * parts;
  const int steps = shape.steps[0] + shape.steps[1];
  const int part = index % parts, gate = index / parts % shape.gates;
  const int step = index / per_step % steps, block = index / per_step / steps;
  const int operand = step < shape.steps[0] ? 0 : 1;
  const int n = block * kTile + b_column(lane) + i / 2 * 8;
  const int k = (operand ? step - shape.steps[0] : step) * kTile;
  return pack_part<Type>(scaled_weight(job, layer, operand, gate, n, k + b_k(lane, i % 2, 0)),
                         scaled_weight(job, layer, operand, gate, n, k + b_k(lane, i % 2, 1)),
                         part);
}

// One thread per lane of a tile.
template <class Type>
__global__ void __launch_bounds__(kThreads) pack_tiles(const PackJob job) {
  int index = static_cast<int>((blockIdx.x * kThreads + threadIdx.x) / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int layer = 0; layer < job.layout.layers; ++layer) {
    const LayerLayout& shape = job.layout.layer[layer];
    const int tiles = shape.blocks * tiles_per_block(shape, job.layout.parts);
    if (index < tiles) {
      uint4 out;
      out.x = tile_register<Type>(job, layer, index, lane, 0);
      out.y = tile_register<Type>(job, layer, index, lane, 1);
      out.z = tile_register<Type>(job, layer, index, lane, 2);
      out.w = tile_register<Type>(job, layer, index, lane, 3);
      reinterpret_cast<uint4*>(job.packed + shape.tiles)[index * 32 + lane] = out;
      return;
    }
    index -= tiles;
  }
}

// Bias of output n in a slot: a layer's one, or the GRU's r, z, n of the input, n of the belief.
__device__ float bias_value(const PackJob& job, int layer, int slot, int n) {
  const LayerLayout& shape = job.layout.layer[layer];
  const float* const(&bias)[2] = job.source[layer].bias;
  const int row = weight_row(layer, shape, slot < 3 ? slot : 2, n);
  if (row < 0) return 0.0f;
  if (layer != kGruLayer) return bias[0][row];
  return slot < 2 ? bias[0][row] + bias[1][row] : bias[slot - 2][row];
}

// Block y: one layer's biases, then the operands of the rows of reward and logit.
__global__ void __launch_bounds__(kThreads) pack_vectors(const PackJob job) {
  const int section = static_cast<int>(blockIdx.y);
  const int first = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  const int stride = static_cast<int>(gridDim.x) * kThreads;
  if (section < job.layout.layers) {
    const LayerLayout& layer = job.layout.layer[section];
    float* out = job.floats(layer.bias);
    for (int i = first; i < layer.blocks * layer.slots * kTile; i += stride) {
      const int block = i / kTile / layer.slots, slot = i / kTile % layer.slots;
      out[i] = bias_value(job, section, slot, block * kTile + i % kTile);
    }
    return;
  }
  const int row = section - job.layout.layers, operand = row % 2;
  const int inputs = job.last_inputs[operand];
  float* out = job.floats((row < 2 ? job.layout.reward_row : job.layout.logit_row)[operand]);
  for (int i = first; i < padded16(inputs); i += stride) {
    out[i] = i < inputs ? job.last_row[row][i] : 0.0f;
  }
}

// Block y: one array.
__global__ void __launch_bounds__(kThreads) copy_arrays(const PackJob job) {
  const Array& array = job.array[blockIdx.y];
  float* out = job.floats(array.at);
  for (int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x); i < array.count;
       i += static_cast<int>(gridDim.x) * kThreads) {
    out[i] = array.from[i];
  }
}

void add_sources(const ModelSizes& sizes, const ModelWeights& weights, PackJob& job) {
  const int d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  job.source[kInputLayer] = {{{weights.input_weight, s + a, 0}, {weights.input_weight, s + a, s}},
                             {weights.input_bias, nullptr}};
  job.source[kGruLayer] = {{{weights.gru_weight_ih, m, 0}, {weights.gru_weight_hh, d, 0}},
                           {weights.gru_bias_ih, weights.gru_bias_hh}};
  job.source[kPriorHiddenLayer] = {{{weights.prior_hidden_weight, d > 0 ? d : m, 0}, {}},
                                   {weights.prior_hidden_bias, nullptr}};
  job.source[kPriorLayer] = {{{weights.prior_weight, m, 0}, {}}, {weights.prior_bias, nullptr}};
  const int last = sizes.reward_layers - 1;
  for (int i = 0; i < last; ++i) {
    const float* weight = weights.reward_weights[i];
    const int width = i == 0 ? d + s : sizes.reward_widths[i - 1];
    job.source[kRewardLayer + i] = {{{weight, width, 0}, {weight, width, d}},
                                    {weights.reward_biases[i], nullptr}};
  }
  job.last_inputs[0] = last > 0 ? sizes.reward_widths[last - 1] : d;
  job.last_inputs[1] = last > 0 ? 0 : s;
  const float* row = weights.reward_weights[last];
  for (int i = 0; i < 2 * sizes.reward_widths[last]; ++i) {
    job.last_row[i] = row;
    row += job.last_inputs[i % 2];
  }
}

void add_arrays(const ModelSizes& sizes, const ModelWeights& weights, PackJob& job) {
  each_tensor(sizes, weights, [&](const char*, int, int rows, int columns, const float* from) {
    job.array[job.arrays++] = {from, 0, rows * (columns > 0 ? columns : 1)};
  });
  int next = 0;
  each_tensor(sizes, job.layout.arrays,
              [&](const char*, int, int, int, int offset) { job.array[next++].at = offset; });
}

const char* launch_packing(const PackJob& job, Precision precision, void* stream) {
  const unsigned int rows = job.layout.logit_row[0] > 0 ? 4 : 2;
  unsigned int tiles = 0;
  for (int i = 0; i < job.layout.layers; ++i) {
    const LayerLayout& layer = job.layout.layer[i];
    tiles += static_cast<unsigned int>(layer.blocks * tiles_per_block(layer, job.layout.parts));
  }
  const auto layers = static_cast<unsigned int>(job.layout.layers);
  const dim3 threads(kThreads);
  const char* error =
      launch({dim3(layers), dim3(kMeasureThreads), kMeasureThreads / 32 * sizeof(uint32_t), stream},
             measure_layers, job);
  if (error != nullptr) return error;
  const dim3 tile_blocks((tiles * 32 + kThreads - 1) / kThreads);
  error =
      launch({tile_blocks, threads, 0, stream},
             precision == Precision::kBfloat16 ? pack_tiles<Bfloat16> : pack_tiles<Float16>, job);
  if (error != nullptr) return error;
  error = launch({dim3(1, layers + rows), threads, 0, stream}, pack_vectors, job);
  if (error != nullptr) return error;
  return launch({dim3(kCopyBlocks, static_cast<unsigned int>(job.arrays)), threads, 0, stream},
                copy_arrays, job);
}

}  // namespace

int64_t packed_bytes(const ModelSizes& sizes, Precision precision) {
  return packed_layout(sizes, precision).end;
}

const char* pack(const ModelSizes& sizes, const ModelWeights& weights, Precision precision,
                 void* packed, void* stream) {
  PackJob job{};
  job.layout = packed_layout(sizes, precision);
  job.split = precision == Precision::kFloat32;
  job.packed = static_cast<unsigned char*>(packed);
  add_sources(sizes, weights, job);
  add_arrays(sizes, weights, job);
  return launch_packing(job, precision, stream);
}

}  // namespace planet::cuda
