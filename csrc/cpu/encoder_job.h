// Between filter_step.cpp and the kernels of the encoder (encoder.inc); part of panel.h, whose
// rules hold here.
#pragma once

#include <stdint.h>

namespace planet::cpu {

// A convolution without padding of maps [image][y][x][channel]; a dense layer is one whose kernel
// covers its inputs.
struct Convolution {
  int64_t side, channels;  // of the inputs
  int64_t kernel, stride;
  int64_t out_side, outputs;  // channels of the outputs
  bool activated, elu;
  const float* packed;  // bias and weights, as packed by the kernels
  const float* input;   // with 16 floats behind it that are read and not used
  float* output;
  int64_t pixels;  // of all outputs
};

// Inputs of one output. Static, as everything that the kernels' files share.
static inline int64_t inputs_of(const Convolution& layer) {
  return layer.kernel * layer.kernel * layer.channels;
}

// Floats of an image's inputs.
static inline int64_t map_of(const Convolution& layer) {
  return layer.side * layer.side * layer.channels;
}

struct EncoderKernels {
  int rows;  // pixels of a tile
  // Floats of the packed form, a multiple of 16.
  int64_t (*packed)(int64_t inputs, int64_t outputs);
  // weights [outputs][inputs], inputs in the order [y][x][channel]; bias [outputs].
  void (*pack)(const float* weights, const float* bias, int64_t inputs, int64_t outputs,
               float* packed);
  // Into how many blocks the outputs of a pixel are cut.
  int64_t (*blocks)(int64_t outputs);
  // Floats of scratch to convolve so many pixels at once; scratch is aligned to 64 bytes.
  int64_t (*scratch)(int64_t inputs, int64_t pixels);
  // Computes one block of the outputs at pixels [first, first + count).
  void (*convolve)(const Convolution& layer, int64_t first, int64_t count, int64_t block,
                   float* scratch);
};

}  // namespace planet::cpu
