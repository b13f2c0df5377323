// Reads the weight files that `planet export` (Python: planet.weights.file.save_weights) writes.
//
// Format 2. Numbers are little-endian; float32 and float64 are IEEE 754.
//
//   offset  size
//        0     8  "PLANETWF"
//        8     4  format version, 2                     uint32, as are all sizes below
//       12     4  transition: 0 rssm, 1 ssm
//       16     8  bytes in the file, from the magic to the checksum    uint64
//       24     8  min_stddev, finite and >= 0           float64
//       32     4  activation: 0 relu, 1 elu
//       36    16  D (0 for ssm), S, A, M                else 1 to 512
//       52     4  reward layers, 1 to 4
//       56    16  rows of the reward matrices; the last one is 1 or 2, see model.h, those not used
//                 are 0
//       72     4  stddev: 0 softplus(raw) + min_stddev, 1 max(softplus(raw), min_stddev)
//       76     4  delta: 0; 1, a residual transition, is not available yet
//       80     4  bytes of the settings, 0 to 65536
//       84     4  layers of the encoder, 0 to 16
//       88     4  pixels per side of a frame, 1 to 1024; 0: what filters frames is not in the file,
//                 and the numbers beside it are 0
//       92     4  bits that are kept of a colour channel, 1 to 8
//       96    32  zeros
//      128        the settings: JSON, see settings.h
//                 the encoder's layers, three uint32 each: channels, 1 to 4096; kernel, 1 to its
//                 inputs' pixels per side; stride, 1 to 2^31 - 1.
//                 the tensors
//     last     4  CRC-32 (that of zlib) of all bytes before it
//
// The encoder's layers begin at the next multiple of 64, and so does each tensor (zeros fill the
// gaps). The tensors are row-major float32, finite: input_weight, input_bias, gru_weight_ih,
// gru_weight_hh, gru_bias_ih, gru_bias_hh (rssm only), prior_hidden_weight, prior_hidden_bias,
// prior_weight, prior_bias, weight and bias of each reward layer; their shapes are in model.h.
// Where frames are filtered there follow weight and bias of each encoder layer,
// posterior_hidden_weight, posterior_hidden_bias, posterior_weight, posterior_bias; see
// filter_step.h. The checksum follows the last tensor immediately.
//
// `planet export` writes the whole agent. A planner's weights alone are a file, too.
//
// A frame is what the run's environment observed: uint8 [h, w, 3], the top row first, red, green,
// blue; h = w are the pixels per side in the header. It is taken after the last action's repeats. A
// camera's larger picture is made smaller as in training: see render_size in settings.h.
//
// Format 1 is the same with zeros from 72 to 127, and is read: its stddev is added, its last reward
// matrix has one row, it has no settings, and filters no frames. The filter of an ssm is not
// available yet. An intact file may still ask for more memory than a machine has, by its layers or
// its candidates: who makes an agent or a planner of it is told.
//
// Magic and version keep their places in every later format. Both readers, this one and Python's,
// refuse the same files in the same words.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>

#include "filter_step.h"
#include "model.h"
#include "settings.h"

namespace planet {

// A model as it lies in memory; the pointers of `weights` lead into the bytes that were read.
struct WeightView {
  ModelSizes sizes;
  float min_stddev;
  ModelWeights weights;
  PlannerSettings settings = {};
  EncoderSizes encoder = {};  // image_size 0: the file plans from latents alone
  FilterWeights filter = {};  // null where there is no encoder
};

// Views the content of a weight file. Nothing is copied: `data` [size bytes], aligned to 4, must
// outlive the use of `view`, and is only read. Safe for any bytes. Returns an empty string, or what
// is wrong ("belief: expected 1 to 512, got 700"); then `view` is unchanged.
std::string view_weights(const void* data, size_t size, WeightView& view);

// A weight file in memory.
class WeightFile {
 public:
  // Reads a file. Returns an empty string, or the path and what is wrong; then the object is as it
  // was.
  std::string read(const char* path);

  // Valid after a successful read(), until the next one and as long as this object lives.
  const WeightView& view() const { return view_; }

 private:
  std::unique_ptr<float[]> data_;
  WeightView view_{};
};

}  // namespace planet
