#include "random_filter.h"

#include <cmath>

namespace planet::tests {

EncoderSizes FilterShape::encoder() const {
  EncoderSizes out{image_size, bit_depth, static_cast<int>(layers.size()), {}};
  for (size_t i = 0; i < layers.size(); ++i) out.layer[i] = layers[i];
  return out;
}

std::string FilterShape::name() const {
  std::string text = model.name() + "; image " + show(image_size) + ", bits " + show(bit_depth);
  for (const EncoderLayer& layer : layers) {
    text += ", " + show(layer.channels) + " channels by " + show(layer.kernel) + "/" +
            show(layer.stride);
  }
  return text;
}

std::vector<FilterShape> filter_shapes() {
  const Shape one{1, 1, 1, 1, {1}, false}, odd{7, 3, 2, 9, {5, 1}, false};
  const Shape clamped{33, 5, 3, 30, {4, 1}, false, true}, elu{20, 6, 1, 17, {8, 1}, true, true};
  const Shape wide{64, 16, 6, 65, {1}, true};
  return {{one, 1, 1, {}},
          {odd, 1, 8, {{3, 1, 1}}},
          {elu, 7, 5, {}},
          {clamped, 7, 5, {{17, 1, 1}}},
          {odd, 7, 5, {{3, 1, 3}}},
          {wide, 7, 3, {{3, 2, 1}, {17, 3, 2}}},
          {elu, 7, 8, {{17, 5, 3}}},
          {odd, 32, 5, {{3, 4, 3}, {17, 5, 2}, {3, 1, 1}}},
          {clamped, 32, 4, {{17, 3, 2}, {16, 3, 2}, {3, 2, 3}}},
          {wide, 64, 5, {{3, 4, 2}, {17, 4, 2}, {17, 4, 2}, {5, 4, 2}}}};
}

FilterShape paper_filter() {
  return {preset_shapes()[0], 64, 5, {{32, 4, 2}, {64, 4, 2}, {128, 4, 2}, {256, 4, 2}}};
}

RandomFilter::RandomFilter(const FilterShape& shape, Random& random) : encoder(shape.encoder()) {
  const auto draw = [&random](int64_t count, int64_t inputs) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(inputs));
    return random.uniforms(count, -bound, bound);
  };
  for (int i = 0; i < encoder.layers; ++i) {
    const auto& [channels, kernel, stride] = encoder.layer[i];
    const int64_t inputs = int64_t{1} * encoder_channels(encoder, i - 1) * kernel * kernel;
    encoder_weights.push_back(draw(channels * inputs, inputs));
    encoder_biases.push_back(draw(channels, inputs));
  }
  const int64_t m = shape.model.hidden, s = shape.model.state;
  const int64_t inputs = shape.model.belief + embedding_size(encoder);
  posterior_hidden_weight = draw(m * inputs, inputs);
  posterior_hidden_bias = draw(m, inputs);
  posterior_weight = draw(2 * s * m, m);
  posterior_bias = draw(2 * s, m);
}

FilterWeights RandomFilter::weights() const {
  FilterWeights out{};
  for (size_t i = 0; i < encoder_weights.size(); ++i) {
    out.encoder_weights[i] = encoder_weights[i].data();
    out.encoder_biases[i] = encoder_biases[i].data();
  }
  out.posterior_hidden_weight = posterior_hidden_weight.data();
  out.posterior_hidden_bias = posterior_hidden_bias.data();
  out.posterior_weight = posterior_weight.data();
  out.posterior_bias = posterior_bias.data();
  return out;
}

PackedFilter::PackedFilter(const RandomModel& source, const RandomFilter& filter, cpu::Isa isa)
    : model{source.sizes, filter.encoder, source.min_stddev, isa, nullptr},
      packed_(cpu::filter_packed_bytes(source.sizes, filter.encoder, isa), 64) {
  cpu::pack_filter(source.sizes, filter.encoder, source.weights(), filter.weights(), isa,
                   packed_.data());
  packed_.check();
  model.packed = packed_.data();
}

Filtering::Filtering(const ModelSizes& sizes, const EncoderSizes& encoder, int64_t batch,
                     Random& random)
    : batch(batch),
      action(random.uniforms(batch * sizes.action, -1.0, 1.0)),
      belief(random.uniforms(batch * sizes.belief, -0.9, 0.9)),
      state(random.normals(batch * sizes.state)) {
  const int64_t values = int64_t{3} * encoder.image_size * encoder.image_size;
  for (int64_t i = 0; i < batch * values; ++i) {
    frames.push_back(static_cast<uint8_t>(random.next() >> 32));
  }
  for (int64_t b = 0; b < batch; ++b) seeds.push_back(static_cast<int64_t>(random.next()));
}

Filtering Filtering::row(int64_t b) const {
  Filtering out = *this;
  out.batch = 1;
  out.frames = row_of_batch(frames, b, batch);
  out.seeds = row_of_batch(seeds, b, batch);
  out.action = row_of_batch(action, b, batch);
  out.belief = row_of_batch(belief, b, batch);
  out.state = row_of_batch(state, b, batch);
  return out;
}

Filtered Filtered::row(int64_t b, int64_t batch) const {
  return {row_of_batch(belief, b, batch), row_of_batch(state, b, batch)};
}

bool Filtered::operator==(const Filtered& other) const {
  return same_bits(belief, other.belief) && same_bits(state, other.state);
}

Filtered run_filter(const cpu::FilterModel& model, const Filtering& in, const Parallel& parallel) {
  Fenced<uint8_t> frames(in.frames);
  Fenced<int64_t> seeds(in.seeds);
  Fenced<float> action(in.action), belief(in.belief), state(in.state);
  Fenced<float> next_belief(static_cast<int64_t>(in.belief.size()));
  Fenced<float> next_state(static_cast<int64_t>(in.state.size()));
  Fenced<unsigned char> workspace(cpu::filter_step_workspace(model, in.batch, parallel.workers),
                                  64);
  cpu::filter_step(model,
                   {in.batch, frames.data(), seeds.data(), action.data(), belief.data(),
                    state.data(), next_belief.data(), next_state.data()},
                   workspace.data(), parallel, nullptr);
  CHECK(frames.equals(in.frames) && seeds.equals(in.seeds) && action.equals(in.action) &&
        belief.equals(in.belief) && state.equals(in.state));
  return {next_belief.values(), next_state.values()};
}

}  // namespace planet::tests
