// The reader of weight files, and what it makes of damaged ones.
#include "weight_file.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "harness.h"
#include "memory.h"
#include "random_model.h"

namespace planet::tests {
namespace {

using Bytes = std::vector<unsigned char>;

// A second writing of the format, bit by bit.
uint32_t crc32(const unsigned char* data, size_t size) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}

template <class T>
void put(Bytes& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Length and checksum that belong to the rest.
void seal(Bytes& bytes) {
  put(bytes, 16, static_cast<uint64_t>(bytes.size()));
  put(bytes, bytes.size() - 4, crc32(bytes.data(), bytes.size() - 4));
}

Bytes image(const RandomModel& model) {
  Bytes bytes(128);
  const ModelSizes& z = model.sizes;
  std::memcpy(bytes.data(), "PLANETWF", 8);
  put(bytes, 24, 0.1);
  const int fields[] = {z.elu, z.belief, z.state, z.action, z.hidden, z.reward_layers};
  put(bytes, 8, 1);
  put(bytes, 12, z.belief == 0 ? 1 : 0);
  for (size_t i = 0; i < 6; ++i) put(bytes, 32 + 4 * i, fields[i]);
  for (size_t i = 0; i < 4; ++i) put(bytes, 56 + 4 * i, z.reward_widths[i]);
  const auto append = [&](const std::vector<float>& values) {
    if (values.empty()) return;
    const size_t start = (bytes.size() + 63) / 64 * 64;
    bytes.resize(start + values.size() * sizeof(float));
    std::memcpy(bytes.data() + start, values.data(), values.size() * sizeof(float));
  };
  for (const auto* values :
       {&model.input_weight, &model.input_bias, &model.gru_weight_ih, &model.gru_weight_hh,
        &model.gru_bias_ih, &model.gru_bias_hh, &model.prior_hidden_weight,
        &model.prior_hidden_bias, &model.prior_weight, &model.prior_bias}) {
    append(*values);
  }
  for (size_t i = 0; i < model.reward_weights.size(); ++i) {
    append(model.reward_weights[i]);
    append(model.reward_biases[i]);
  }
  bytes.resize(bytes.size() + 4);
  seal(bytes);
  return bytes;
}

bool holds(const float* values, const std::vector<float>& expected) {
  if (expected.empty()) return values == nullptr;
  return std::memcmp(values, expected.data(), expected.size() * sizeof(float)) == 0;
}

bool holds(const WeightView& view, const RandomModel& model) {
  const ModelWeights& w = view.weights;
  bool same = holds(w.input_weight, model.input_weight) && holds(w.input_bias, model.input_bias) &&
              holds(w.gru_weight_ih, model.gru_weight_ih) &&
              holds(w.gru_weight_hh, model.gru_weight_hh) &&
              holds(w.gru_bias_ih, model.gru_bias_ih) && holds(w.gru_bias_hh, model.gru_bias_hh) &&
              holds(w.prior_hidden_weight, model.prior_hidden_weight) &&
              holds(w.prior_hidden_bias, model.prior_hidden_bias) &&
              holds(w.prior_weight, model.prior_weight) && holds(w.prior_bias, model.prior_bias);
  for (size_t i = 0; i < model.reward_weights.size(); ++i) {
    same = same && holds(w.reward_weights[i], model.reward_weights[i]) &&
           holds(w.reward_biases[i], model.reward_biases[i]);
  }
  return same && std::memcmp(&view.sizes, &model.sizes, sizeof view.sizes) == 0 &&
         view.min_stddev == 0.1f;
}

std::vector<RandomModel> models(Random& random) {
  std::vector<RandomModel> out;
  out.emplace_back(Shape{1, 1, 1, 1, {1}, false}, random);
  out.emplace_back(Shape{5, 3, 2, 7, {6, 4, 1}, true}, random);
  out.emplace_back(Shape{9, 4, 1, 6, {5, 3, 2, 1}, false}, random);
  out.emplace_back(Shape{0, 3, 2, 5, {4, 1}, true}, random);
  return out;
}

// One to four changes of what the format consists of.
void mutate(Bytes& bytes, Random& random) {
  constexpr uint32_t kWords[] = {0, 1, 2, 4, 5, 512, 513, 1u << 16, 1u << 31, 0x7F800000u, ~0u};
  for (int64_t count = random.integer(1, 4); count > 0; --count) {
    const int64_t last = static_cast<int64_t>(bytes.size()) - 1;
    switch (random.integer(0, 5)) {
      case 0:
        if (last >= 0) bytes[random.integer(0, last)] ^= 1u << random.integer(0, 7);
        break;
      case 1:
        if (last >= 71) put(bytes, 4 * random.integer(2, 17), kWords[random.integer(0, 10)]);
        break;
      case 2:
        if (last >= 135)
          put(bytes, 4 * random.integer(32, last / 4 - 1), kWords[random.integer(0, 10)]);
        break;
      case 3:
        bytes.resize(random.integer(0, last + 1));
        break;
      case 4:
        bytes.resize(bytes.size() + random.integer(1, 200));
        break;
      case 5:
        if (bytes.size() >= 132) seal(bytes);
        break;
    }
  }
  if (random.integer(0, 1) == 0 && bytes.size() >= 132) seal(bytes);
}

}  // namespace

TEST("a weight file is viewed as it was written") {
  Random random(options().seed);
  for (const RandomModel& model : models(random)) {
    const Bytes bytes = image(model);
    Fenced<unsigned char> data(bytes, 4);
    WeightView view{};
    CHECK_EQUAL(view_weights(data.data(), bytes.size(), view), std::string());
    CHECK(holds(view, model));
  }
}

TEST("a weight file is read from a path, a wrong one changes nothing") {
  Random random(options().seed + 1);
  const std::vector<RandomModel> list = models(random);
  char path[] = "/tmp/planet_tests_XXXXXX";
  const int descriptor = mkstemp(path);
  CHECK(descriptor >= 0);
  WeightFile file;
  for (const RandomModel& model : list) {
    Bytes bytes = image(model);
    const auto write_all = [&] {
      CHECK_EQUAL(ftruncate(descriptor, 0), 0);
      CHECK_EQUAL(pwrite(descriptor, bytes.data(), bytes.size(), 0),
                  static_cast<ssize_t>(bytes.size()));
    };
    write_all();
    CHECK_EQUAL(file.read(path), std::string());
    CHECK(holds(file.view(), model));
    bytes.pop_back();
    write_all();
    CHECK(file.read(path).find(": length: expected ") != std::string::npos);
    CHECK(holds(file.view(), model));
  }
  close(descriptor);
  unlink(path);
  CHECK_EQUAL(file.read(path), std::string(path) + ": No such file or directory");
  CHECK(holds(file.view(), list.back()));
}

TEST("data at an odd address are refused") {
  Random random(options().seed + 2);
  const Bytes bytes = image(models(random).front());
  std::vector<uint32_t> words(bytes.size() / 4 + 1);
  unsigned char* odd = reinterpret_cast<unsigned char*>(words.data()) + 1;
  std::memcpy(odd, bytes.data(), bytes.size());
  WeightView view{};
  CHECK_EQUAL(view_weights(odd, bytes.size(), view),
              std::string("data: expected an address aligned to 4 bytes"));
}

TEST("no damaged weight file is accepted, or read past its end") {
  Random random(options().seed + 3);
  const std::vector<RandomModel> list = models(random);
  std::vector<Bytes> originals;
  for (const RandomModel& model : list) originals.push_back(image(model));
  const int64_t mutations = options().quick ? 5000 : 100000;
  int64_t accepted = 0;
  for (int64_t i = 0; i < mutations; ++i) {
    const Scope scope("mutation ", i);
    Bytes bytes = originals[i % originals.size()];
    mutate(bytes, random);
    // Ends at the end of its memory, where the sanitizers look; aligned as malloc does.
    std::unique_ptr<unsigned char, void (*)(void*)> data(
        static_cast<unsigned char*>(std::malloc(bytes.size())), std::free);
    if (!bytes.empty()) std::memcpy(data.get(), bytes.data(), bytes.size());
    WeightView view{}, untouched{};
    const std::string error = view_weights(data.get(), bytes.size(), view);
    if (!error.empty()) {
      CHECK(std::memcmp(&view, &untouched, sizeof view) == 0);
      CHECK(error.find(": ") != std::string::npos && error.size() < 150);
      continue;
    }
    // Sizes, length and checksum fit together: all tensors are there, and finite.
    ++accepted;
    CHECK(view.sizes.state >= 1 && view.sizes.state <= kMaxSize);
    CHECK(view.min_stddev >= 0.0f && std::isfinite(view.min_stddev));
    const int last = view.sizes.reward_layers - 1;
    const float* end = view.weights.reward_biases[last] + 1;
    CHECK(reinterpret_cast<const unsigned char*>(end) + 4 == data.get() + bytes.size());
    CHECK(std::isfinite(end[-1]) && std::isfinite(view.weights.input_weight[0]));
  }
  CHECK(accepted > 0 && accepted < mutations / 4);
  note(show(mutations) + " mutations, " + show(accepted) + " of them still sound");
}

}  // namespace planet::tests
