// Packs the weights of networks.
#include "network_pack.h"

#include <algorithm>
#include <vector>

#include "network_plan.h"

namespace planet::cpu {
namespace {

// One tile's bias[rows]; null: zeros.
void pack_bias(const float* bias, int first, int channels, int rows, float* out) {
  for (int r = 0; r < rows; ++r) {
    out[r] = bias != nullptr && first + r < channels ? bias[first + r] : 0.0f;
  }
}

}  // namespace

int64_t gather_floats(const NetworkLayer& layer, int rows) {
  const int64_t inputs = int64_t{1} * layer.kernel * layer.kernel * layer.large_channels;
  return divide_up(layer.small_channels, rows) * rows * (1 + inputs);
}

int64_t scatter_floats(const NetworkLayer& layer, int rows) {
  const int64_t taps = int64_t{1} * layer.kernel * layer.kernel;
  const int64_t classes = int64_t{1} * layer.stride * layer.stride;
  return divide_up(layer.large_channels, rows) * rows * (classes + taps * layer.small_channels);
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

}  // namespace planet::cpu
