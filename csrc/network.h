// Feed-forward networks on the CPU, forward and backward: linear layers, convolutions and
// transposed convolutions, as an encoder, a decoder or a head has them. Float32.
//
// A layer lies between two maps of pixels, a small one [n, n, c] and a large one [m, m, C], whose
// pixels meet where large = stride * small + tap, 0 <= tap < kernel, on each axis:
//   convolution    small[p] = bias + sum of w[c][C][tap] large[stride p + tap]   m >= stride (n-1)
//   + k transposed     large[q] = bias + sum of w[c][C][tap] small[p]                m = stride
//   (n-1) + k
// Both keep weights [c, C, k, k], as torch.nn.Conv2d and torch.nn.ConvTranspose2d do. A linear
// layer is a convolution of one pixel, n = m = k = 1, with weights [c, C].
#pragma once

#include <stdint.h>

#include "isa.h"
#include "parallel.h"

namespace planet::cpu {

constexpr int kMaxNetworkLayers = 16;

struct NetworkLayer {
  int small_channels, large_channels;
  int small_side, large_side;  // pixels
  int kernel, stride;
  bool transposed;

  int64_t small() const { return int64_t{1} * small_side * small_side * small_channels; }
  int64_t large() const { return int64_t{1} * large_side * large_side * large_channels; }
  int64_t inputs() const { return transposed ? small() : large(); }
  int64_t outputs() const { return transposed ? large() : small(); }
  int channels() const { return transposed ? large_channels : small_channels; }  // of the outputs
  int64_t weights() const { return int64_t{1} * small_channels * large_channels * kernel * kernel; }
};

// Every layer's outputs are the next one's inputs. Every layer but the last is followed by the
// activation, the last one only if `activated`.
struct Network {
  Isa isa;
  int layers;
  NetworkLayer layer[kMaxNetworkLayers];
  bool elu;  // activation: ELU (alpha 1), otherwise ReLU
  bool activated;
};

// Floats of `kept`: all layers' outputs, which the backward pass needs.
int64_t network_kept(const Network& network, int64_t rows);

// Floats of `workspace` of either pass.
int64_t network_workspace(const Network& network, int64_t rows, int workers);

// What both passes read. Rows are [pixel][channel], channels last. All pointers are valid during
// the call, and nothing that is written overlaps anything else. Results depend on neither the
// number of workers nor on other rows.
struct NetworkInputs {
  int64_t rows;
  const float* x;                           // [rows, inputs of the first layer]
  const float* weights[kMaxNetworkLayers];  // as above
  const float* biases[kMaxNetworkLayers];   // [channels]
  const float* target;                      // [rows, outputs of the last layer], or null
};

// Without a target, y [rows, outputs] are the outputs. With one, y is null and the result is
// sum((outputs - target)^2) / 2; it is 0 otherwise.
double network_forward(const Network& network, const NetworkInputs& inputs, float* y, float* kept,
                       float* workspace, const Parallel& parallel);

struct NetworkGradients {
  const float* y;                     // of the outputs [rows, outputs]; null with a target
  float error;                        // of the result, with a target
  float* x;                           // written, [rows, inputs], or null: not wanted
  float* weights[kMaxNetworkLayers];  // written
  float* biases[kMaxNetworkLayers];   // written
};

// `kept` is what the forward pass with the same inputs left; biases and target are not read.
void network_backward(const Network& network, const NetworkInputs& inputs, const float* kept,
                      const NetworkGradients& gradients, float* workspace,
                      const Parallel& parallel);

}  // namespace planet::cpu
