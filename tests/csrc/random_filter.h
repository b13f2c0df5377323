// Random encoders and posteriors, and calls of the filter as a stranger would make them.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "filter_step.h"
#include "random_model.h"

namespace planet::tests {

// A model and the encoder of its frames.
struct FilterShape {
  Shape model;
  int image_size, bit_depth;
  std::vector<EncoderLayer> layers;

  EncoderSizes encoder() const;
  std::string name() const;
};

// Around the edges of tiles: one pixel to 64 a side, no layers, odd channels, kernels of 1 to 5,
// strides of 1 to 3; then the preset paper.
std::vector<FilterShape> filter_shapes();
FilterShape paper_filter();

// As RandomModel.
struct RandomFilter {
  EncoderSizes encoder;
  std::vector<std::vector<float>> encoder_weights, encoder_biases;
  std::vector<float> posterior_hidden_weight, posterior_hidden_bias, posterior_weight,
      posterior_bias;

  RandomFilter(const FilterShape& shape, Random& random);
  FilterWeights weights() const;
};

// A filter packed into exactly filter_packed_bytes.
class PackedFilter {
 public:
  PackedFilter(const RandomModel& model, const RandomFilter& filter, cpu::Isa isa);
  cpu::FilterModel model;

 private:
  Fenced<unsigned char> packed_;
};

// The inputs of one filter_step.
struct Filtering {
  int64_t batch;
  std::vector<uint8_t> frames;
  std::vector<int64_t> seeds;
  std::vector<float> action, belief, state;

  Filtering(const ModelSizes& sizes, const EncoderSizes& encoder, int64_t batch, Random& random);
  // Row b alone.
  Filtering row(int64_t b) const;
};

struct Filtered {
  std::vector<float> belief, state;

  Filtered row(int64_t b, int64_t batch) const;
  bool operator==(const Filtered& other) const;  // bit for bit
};

Filtered run_filter(const cpu::FilterModel& model, const Filtering& inputs,
                    const Parallel& parallel);

// Row b of [batch, width].
template <class T>
std::vector<T> row_of_batch(const std::vector<T>& all, int64_t b, int64_t batch) {
  const int64_t width = static_cast<int64_t>(all.size()) / batch;
  return {all.begin() + b * width, all.begin() + (b + 1) * width};
}

}  // namespace planet::tests
