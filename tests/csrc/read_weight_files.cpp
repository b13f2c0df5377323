// Lets tests/weights/test_file.py compare this reader with Python's: reads weight files from
// standard input, each a length (uint64, native order) and its bytes, and prints a line for each:
// why it was refused, or "ok", the sizes, those of an encoder, a checksum of the tensors and the
// settings. With arguments: reads those files.
#include <stdint.h>
#include <string.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "../../csrc/model_tensors.h"
#include "../../csrc/weight_file.h"

namespace {

using planet::ModelSizes;
using planet::WeightView;

// FNV-1a of the bits of `count` floats, continued from `hash`.
uint64_t add(uint64_t hash, const float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, values + i, sizeof bits);
    hash = (hash ^ bits) * 0x100000001B3u;
  }
  return hash;
}

uint64_t hash_of(const WeightView& view) {
  uint64_t hash = 0xCBF29CE484222325u;
  planet::each_tensor(
      view.sizes, view.weights,
      [&hash](const char*, int, int64_t rows, int64_t columns, const float* values) {
        hash = add(hash, values, rows * (columns > 0 ? columns : 1));
      });
  if (view.encoder.image_size == 0) return hash;
  planet::each_filter_tensor(
      view.sizes, view.encoder, view.filter,
      [&hash](const char*, int, std::initializer_list<int64_t> shape, const float* values) {
        int64_t count = 1;
        for (const int64_t length : shape) count *= length;
        hash = add(hash, values, count);
      });
  return hash;
}

void print(const std::string& error, const WeightView& view) {
  if (!error.empty()) {
    std::printf("%s\n", error.c_str());
    return;
  }
  const ModelSizes& z = view.sizes;
  std::printf("ok D%d S%d A%d M%d %s %s %.9g", z.belief, z.state, z.action, z.hidden,
              z.elu ? "elu" : "relu", z.clamp_stddev ? "clamp" : "add", view.min_stddev);
  for (int i = 0; i < z.reward_layers; ++i) std::printf(" %d", z.reward_widths[i]);
  const planet::EncoderSizes& e = view.encoder;
  if (e.image_size > 0) std::printf(" image %d bits %d", e.image_size, e.bit_depth);
  for (int i = 0; i < e.layers; ++i) {
    std::printf(" %d/%d/%d", e.layer[i].channels, e.layer[i].kernel, e.layer[i].stride);
  }
  const planet::PlannerSettings& s = view.settings;
  std::printf(
      " %016llx %lld %lld %lld %lld %.9g %.9g %.9g %zu %zu %d %.17g %d %.17g %d %.17g %lld %.9g "
      "%lld %.17g %d %.17g %lld %.17g %.17g %d %d %s\n",
      static_cast<unsigned long long>(hash_of(view)), static_cast<long long>(s.horizon),
      static_cast<long long>(s.candidates), static_cast<long long>(s.topk),
      static_cast<long long>(s.iterations), s.initial_stddev, s.low, s.high, s.lows.size(),
      s.highs.size(), static_cast<int>(s.spread), s.epsilon, s.state_noise, s.discount,
      static_cast<int>(s.precision), s.budget_ms, static_cast<long long>(s.action_repeat),
      s.exploration_stddev, static_cast<long long>(s.render_size), s.colour,
      static_cast<int>(s.numerics), s.decay, static_cast<long long>(s.keep), s.momentum,
      s.temperature, static_cast<int>(s.output), static_cast<int>(s.shift), s.planner.c_str());
}

}  // namespace

int main(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    planet::WeightFile file;
    const std::string error = file.read(words[i]);
    print(error, file.view());
  }
  uint64_t size;
  while (count == 1 && std::fread(&size, sizeof size, 1, stdin) == 1) {
    void* data = std::malloc(size);  // of this very size: the sanitizer sees a byte too many
    if (size > 0 && std::fread(data, 1, size, stdin) != size) return 1;
    WeightView view{};
    const std::string error = planet::view_weights(data, size, view);
    print(error, view);
    std::free(data);
  }
}
