// Weight files: what is written comes back, and nothing leads the readers out of their bytes.
// tests/weights/test_file.py asks this reader and Python's alike what is refused, and why.
#include "weight_file.h"

#include <algorithm>
#include <string>

#include "calls.h"
#include "harness.h"
#include "random_filter.h"

namespace planet::tests {
namespace {

using Bytes = std::vector<unsigned char>;

const Shape kShapes[] = {
    {5, 3, 2, 4, {3, 1}, false}, {0, 2, 1, 5, {1}, true, true}, {4, 2, 1, 3, {6, 2}, false}};

// What filters frames into latents of the first shape.
const FilterShape kFilters[] = {{kShapes[0], 6, 5, {{4, 3, 2}, {2, 2, 1}}},
                                {kShapes[0], 2, 8, {}},
                                {kShapes[0], 3, 1, {{1, 1, INT32_MAX}}}};

const std::string kSettings = R"({"horizon": 7, "low": [-1.0, -0.5], "render_size": 12})";

template <class T>
void put(Bytes& bytes, size_t at, T value) {
  memcpy(bytes.data() + at, &value, sizeof value);
}

// zlib's CRC-32, bit by bit.
uint32_t checksum(const Bytes& bytes, size_t count) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < count; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

// Makes length and checksum fit.
void seal(Bytes& bytes) {
  put(bytes, 16, static_cast<uint64_t>(bytes.size()));
  put(bytes, bytes.size() - 4, checksum(bytes, bytes.size() - 4));
}

Bytes header_of(const ModelSizes& sizes, float min_stddev, const EncoderSizes& encoder) {
  Bytes bytes(128);
  memcpy(bytes.data(), "PLANETWF", 8);
  put(bytes, 8, uint32_t{2});
  put(bytes, 12, uint32_t{sizes.belief == 0});
  put(bytes, 24, static_cast<double>(min_stddev));
  put(bytes, 32, uint32_t{sizes.elu});
  const int fields[] = {sizes.belief, sizes.state, sizes.action, sizes.hidden, sizes.reward_layers};
  for (size_t i = 0; i < 5; ++i) put(bytes, 36 + 4 * i, fields[i]);
  for (size_t i = 0; i < kMaxRewardLayers; ++i) put(bytes, 56 + 4 * i, sizes.reward_widths[i]);
  put(bytes, 72, uint32_t{sizes.clamp_stddev});
  put(bytes, 80, static_cast<uint32_t>(kSettings.size()));
  const int of_filter[] = {encoder.layers, encoder.image_size, encoder.bit_depth};
  for (size_t i = 0; i < 3; ++i) put(bytes, 84 + 4 * i, of_filter[i]);
  return bytes;
}

// The format of weight_file.h.
Bytes file_of(const RandomModel& model, const RandomFilter* filter = nullptr) {
  const EncoderSizes encoder = filter == nullptr ? EncoderSizes{} : filter->encoder;
  Bytes bytes = header_of(model.sizes, model.min_stddev, encoder);
  bytes.resize(bytes.size() + kSettings.size());
  memcpy(bytes.data() + 128, kSettings.data(), kSettings.size());
  const auto add = [&bytes](const void* data, size_t size) {
    if (size == 0) return;
    const size_t at = (bytes.size() + 63) / 64 * 64;
    bytes.resize(at + size);
    memcpy(bytes.data() + at, data, size);
  };
  const auto tensor = [&add](const std::vector<float>& values) {
    add(values.data(), values.size() * sizeof(float));
  };
  const auto layers = [&tensor](const auto& weights, const auto& biases) {
    for (size_t i = 0; i < weights.size(); ++i) {
      tensor(weights[i]);
      tensor(biases[i]);
    }
  };
  static_assert(sizeof(EncoderLayer) == 12);
  add(encoder.layer, static_cast<size_t>(encoder.layers) * sizeof(EncoderLayer));
  for (const auto* values :
       {&model.input_weight, &model.input_bias, &model.gru_weight_ih, &model.gru_weight_hh,
        &model.gru_bias_ih, &model.gru_bias_hh, &model.prior_hidden_weight,
        &model.prior_hidden_bias, &model.prior_weight, &model.prior_bias}) {
    tensor(*values);
  }
  layers(model.reward_weights, model.reward_biases);
  if (filter != nullptr) {
    layers(filter->encoder_weights, filter->encoder_biases);
    for (const auto* values : {&filter->posterior_hidden_weight, &filter->posterior_hidden_bias,
                               &filter->posterior_weight, &filter->posterior_bias}) {
      tensor(*values);
    }
  }
  bytes.resize(bytes.size() + 4);
  seal(bytes);
  return bytes;
}

// The packed filter of a file.
Bytes packed_filter(const WeightView& view, cpu::Isa isa) {
  const int64_t count = cpu::filter_packed_bytes(view.sizes, view.encoder, isa);
  Fenced<unsigned char> packed(count, 64);
  cpu::pack_filter(view.sizes, view.encoder, view.weights, view.filter, isa, packed.data());
  packed.check();
  return Bytes(packed.data(), packed.data() + count);
}

// Reads bytes that lie beside a fence; a file that is accepted must also be fit to act with.
std::string view(const Bytes& bytes) {
  Fenced<unsigned char> memory(static_cast<int64_t>(bytes.size()) + 3, 4);
  std::copy(bytes.begin(), bytes.end(), memory.data());
  WeightView out{};
  const std::string error = view_weights(memory.data(), bytes.size(), out);
  if (!error.empty()) return error;
  Fenced<unsigned char> packed(cpu::packed_bytes(out.sizes, 0, Precision::kFloat32), 64);
  cpu::pack(out.sizes, out.weights, 0, Precision::kFloat32, packed.data());
  if (out.encoder.image_size > 0) packed_filter(out, 0);
  return {};
}

}  // namespace

TEST("a weight file gives the weights that were written") {
  Random random(options().seed + 80);
  for (const Shape& shape : kShapes) {
    const Scope scope(shape.name());
    const RandomModel model(shape, random);
    const Bytes bytes = file_of(model);
    Fenced<float> memory(static_cast<int64_t>(bytes.size() + 3) / 4);
    memcpy(memory.data(), bytes.data(), bytes.size());
    WeightView out{};
    CHECK_EQUAL(view_weights(memory.data(), bytes.size(), out), std::string());
    for (const Kernels& kernels : chosen_kernels()) {
      const PackedModel expected(model, kernels);
      const int64_t count = cpu::packed_bytes(out.sizes, kernels.isa, kernels.precision);
      Fenced<unsigned char> packed(count, 64);
      cpu::pack(out.sizes, out.weights, kernels.isa, kernels.precision, packed.data());
      CHECK(memcmp(packed.data(), expected.model.packed, static_cast<size_t>(count)) == 0);
    }
    CHECK_EQUAL(out.min_stddev, model.min_stddev);
    CHECK_EQUAL(out.sizes.clamp_stddev, model.sizes.clamp_stddev);
    CHECK_EQUAL(out.settings.horizon, int64_t{7});
    CHECK_EQUAL(out.settings.render_size, int64_t{12});
    CHECK_EQUAL(out.encoder.image_size, 0);
    CHECK(out.settings.lows == std::vector<float>({-1.0f, -0.5f}) && out.settings.highs.empty());
  }
}

TEST("a weight file gives the filter that was written") {
  Random random(options().seed + 81);
  for (const FilterShape& shape : kFilters) {
    const Scope scope(shape.name());
    const RandomModel model(shape.model, random);
    const RandomFilter filter(shape, random);
    const Bytes bytes = file_of(model, &filter);
    Fenced<float> memory(static_cast<int64_t>(bytes.size() + 3) / 4);
    memcpy(memory.data(), bytes.data(), bytes.size());
    WeightView out{};
    CHECK_EQUAL(view_weights(memory.data(), bytes.size(), out), std::string());
    CHECK(memcmp(&out.encoder, &filter.encoder, sizeof out.encoder) == 0);
    for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
      const PackedFilter expected(model, filter, kernels.isa);
      const Bytes packed = packed_filter(out, kernels.isa);
      CHECK(memcmp(packed.data(), expected.model.packed, packed.size()) == 0);
    }
  }
}

TEST("settings keep their defaults, and are refused by name") {
  const std::string syntax = "settings: expected a flat JSON object";
  const struct {
    const char* text;
    std::string error;
  } cases[] = {
      {"{}", ""},
      {" { } \n", ""},
      {R"({"topk":3,"other":"x","precision" : "int8","spread":"mean_absolute"})", ""},
      {"", syntax},
      {"[]", syntax},
      {R"({"topk": 3,})", syntax},
      {R"({"topk": 03})", syntax},
      {R"({"topk": {}})", syntax},
      {R"({"a\\b": 1})", syntax},
      {R"({"topk": 3} {})", syntax},
      {R"({"topk": 3, "topk": 3})", "settings: expected every name once"},
      {R"({"topk": "3"})", "settings.topk: expected an integer, got a string"},
      {R"({"topk": 9223372036854775808})", "settings.topk: expected an integer, got a number"},
      {R"({"epsilon": 1e999})", "settings.epsilon: expected a number within float64's range, got"},
      {R"({"low": []})", "settings.low: expected a number within float64's range, or a list of"},
      {R"({"state_noise": 1})", "settings.state_noise: expected true or false, got a number"},
      {R"({"temperature": "0"})",
       "settings.temperature: expected a number within float64's range, or null, got a string"},
      {R"({"shift": true})", "settings.shift: expected none, repeat or middle, got true"},
      {R"({"planner": null})", "settings.planner: expected a string, got null"},
      {R"({"precision": "fp64"})", "settings.precision: expected fp32, int8, fp16 or bf16, got a"},
  };
  for (const auto& one : cases) {
    const Scope scope(one.text);
    PlannerSettings settings;
    const std::string error = read_settings(one.text, strlen(one.text), settings);
    CHECK_EQUAL(error.substr(0, one.error.size()), one.error);
    if (one.error.empty()) CHECK_EQUAL(error, std::string());
    CHECK_EQUAL(settings.horizon, int64_t{12});
    CHECK_EQUAL(settings.topk, int64_t{settings.precision == Precision::kInt8 ? 3 : 100});
  }
}

// Texts near the grammar, and bytes from nowhere, each beside a fence.
TEST("no text leads the reader of settings out of it") {
  Random random(options().seed + 87);
  const std::string parts[] = {"{",        "}",    "[",    "]",  ",",    ":", "\"", "\"low\"",
                               "\"topk\"", "-",    "0",    "1",  ".",    "e", "+",  " ",
                               "null",     "true", "fals", "\\", "\x80", "\n"};
  int accepted = 0;
  for (int trial = 0; trial < (options().quick ? 5000 : 100000); ++trial) {
    std::string text = random.next() % 2 == 0 ? kSettings : "";
    for (int64_t change = random.integer(1, 6); change > 0; --change) {
      const size_t at = static_cast<size_t>(random.integer(0, static_cast<int64_t>(text.size())));
      const size_t gone = static_cast<size_t>(random.integer(0, 3));
      text.replace(at, gone, parts[random.integer(0, 21)]);
    }
    Fenced<char> memory(static_cast<int64_t>(text.size()));
    std::copy(text.begin(), text.end(), memory.data());
    PlannerSettings settings;
    accepted += read_settings(memory.data(), text.size(), settings).empty();
  }
  note(show(accepted) + " accepted");
}

// Damage behind a correct checksum: whatever the header says, the reader stays inside the file, and
// what it accepts has sizes that the file can hold.
TEST("no damaged header leads the reader out of the file") {
  Random random(options().seed + 85);
  int accepted = 0;
  for (int trial = 0; trial < (options().quick ? 2000 : 50000); ++trial) {
    const bool filters = trial % 4 != 3;
    const FilterShape& shape = kFilters[filters ? trial % 4 : 0];
    const RandomModel model(filters ? shape.model : kShapes[trial / 4 % 3], random);
    const RandomFilter filter(shape, random);
    Bytes bytes = file_of(model, filters ? &filter : nullptr);
    for (int64_t change = random.integer(1, 3); change > 0; --change) {
      // The header, and where the encoder's layers are.
      const int64_t number = random.integer(0, 35);
      const size_t at = number < 30 ? 8 + 4 * static_cast<size_t>(number)
                                    : 192 + 4 * static_cast<size_t>(number - 30);
      const uint32_t values[] = {0,    1,          4,          5,          512,       513,
                                 1025, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000001};
      const int64_t pick = random.integer(0, 12);
      put(bytes, at, pick < 11 ? values[pick] : static_cast<uint32_t>(random.integer(0, 8)));
    }
    if (random.next() % 4 == 0) bytes.resize(static_cast<size_t>(random.integer(132, 1200)));
    seal(bytes);
    if (random.next() % 8 == 0) put(bytes, 16, random.next() >> random.integer(0, 63));
    if (random.next() % 2 == 0) put(bytes, bytes.size() - 4, checksum(bytes, bytes.size() - 4));
    accepted += view(bytes).empty();
  }
  note(show(accepted) + " accepted");
}

}  // namespace planet::tests
