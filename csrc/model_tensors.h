// The tensors of a model and of its filter as tables: names, shapes and members of ModelWeights and
// FilterWeights, in the order of weight files and of the ops `pack_weights` and `pack_filter`.
// planet/weights/shapes.py is the same for Python.
#pragma once

#include <stdint.h>

#include <initializer_list>

#include "filter_step.h"
#include "model.h"

namespace planet {

constexpr int kMostTensors = 10 + 2 * kMaxRewardLayers;

// Calls visit(name, layer, rows, columns, member) for every tensor. A vector has 0 columns; layer
// counts the reward's layers and is -1 elsewhere. Arrays has the members of ModelWeights; without a
// belief the GRU's are left out.
template <class Arrays, class Visit>
constexpr void each_tensor(const ModelSizes& sizes, Arrays& arrays, Visit visit) {
  const int d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  visit("input_weight", -1, m, s + a, arrays.input_weight);
  visit("input_bias", -1, m, 0, arrays.input_bias);
  if (d > 0) {
    visit("gru_weight_ih", -1, 3 * d, m, arrays.gru_weight_ih);
    visit("gru_weight_hh", -1, 3 * d, d, arrays.gru_weight_hh);
    visit("gru_bias_ih", -1, 3 * d, 0, arrays.gru_bias_ih);
    visit("gru_bias_hh", -1, 3 * d, 0, arrays.gru_bias_hh);
  }
  visit("prior_hidden_weight", -1, m, d > 0 ? d : m, arrays.prior_hidden_weight);
  visit("prior_hidden_bias", -1, m, 0, arrays.prior_hidden_bias);
  visit("prior_weight", -1, 2 * s, m, arrays.prior_weight);
  visit("prior_bias", -1, 2 * s, 0, arrays.prior_bias);
  int inputs = d + s;
  for (int i = 0; i < sizes.reward_layers; ++i) {
    const int width = sizes.reward_widths[i];
    visit("reward_weights", i, width, inputs, arrays.reward_weights[i]);
    visit("reward_biases", i, width, 0, arrays.reward_biases[i]);
    inputs = width;
  }
}

// Calls visit(name, layer, shape, member) for every tensor of encoder and posterior; layer counts
// the encoder's layers and is -1 elsewhere. Arrays has the members of FilterWeights.
template <class Arrays, class Visit>
void each_filter_tensor(const ModelSizes& sizes, const EncoderSizes& encoder, Arrays& arrays,
                        Visit visit) {
  using Shape = std::initializer_list<int64_t>;
  for (int i = 0; i < encoder.layers; ++i) {
    const int64_t channels = encoder.layer[i].channels, kernel = encoder.layer[i].kernel;
    visit("encoder_weights", i, Shape{channels, encoder_channels(encoder, i - 1), kernel, kernel},
          arrays.encoder_weights[i]);
    visit("encoder_biases", i, Shape{channels}, arrays.encoder_biases[i]);
  }
  const int64_t m = sizes.hidden, s = sizes.state, columns = sizes.belief + embedding_size(encoder);
  visit("posterior_hidden_weight", -1, Shape{m, columns}, arrays.posterior_hidden_weight);
  visit("posterior_hidden_bias", -1, Shape{m}, arrays.posterior_hidden_bias);
  visit("posterior_weight", -1, Shape{2 * s, m}, arrays.posterior_weight);
  visit("posterior_bias", -1, Shape{2 * s}, arrays.posterior_bias);
}

}  // namespace planet
