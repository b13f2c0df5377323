// Images of all sizes that kernels cut differently, made by any implementation and once more by
// double arithmetic.
#pragma once

#include <stdint.h>

#include <cmath>
#include <vector>

#include "harness.h"
#include "images.h"
#include "memory.h"
#include "oracle.h"
#include "random_model.h"

namespace planet::tests {

struct ImageSize {
  int64_t steps, batch, values;
};

// Around words (4 values), blocks (16) and what a vector of lanes draws at once (64, 128, 256).
constexpr ImageSize kImageSizes[] = {
    {1, 1, 1},  {2, 3, 3},   {3, 2, 15},  {2, 2, 16},  {1, 3, 17},  {2, 1, 63},  {1, 2, 64},
    {2, 2, 65}, {1, 2, 127}, {3, 1, 192}, {1, 2, 255}, {2, 1, 256}, {1, 1, 257}, {2, 2, 771}};

inline std::vector<float> oracle_images(const ImagesProblem& p) {
  std::vector<float> out;
  for (int64_t t = 0; t < p.steps; ++t) {
    for (int64_t b = 0; b < p.batch; ++b) {
      for (int64_t i = 0; i < p.values; ++i) {
        const uint64_t key = static_cast<uint64_t>(p.seeds[b]);
        uint32_t words[4] = {static_cast<uint32_t>(i / 16), 4 * 65536, static_cast<uint32_t>(t), 0};
        oracle_philox(words, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
        const double u = ((words[i % 16 / 4] >> (i % 4 * 8) & 255) + 0.5) / 256.0;
        const int pixel = p.observation[(t * p.batch + b) * p.values + i];
        const double level = std::floor(pixel / std::pow(2.0, 8 - p.bit_depth));
        out.push_back(static_cast<float>((level + u) / std::pow(2.0, p.bit_depth) - 0.5));
      }
    }
  }
  return out;
}

// make(problem) returns null or what went wrong.
template <class Make>
void check_images(uint64_t seed, const Make& make) {
  Random random(options().seed + seed);
  for (const ImageSize& size : kImageSizes) {
    for (int bit_depth = 1; bit_depth <= 8; ++bit_depth) {
      const Scope scope("T ", size.steps, ", B ", size.batch, ", values ", size.values, ", bits ",
                        bit_depth);
      std::vector<uint8_t> pixels;
      for (int64_t i = 0; i < size.steps * size.batch * size.values; ++i) {
        pixels.push_back(static_cast<uint8_t>(random.next()));
      }
      std::vector<int64_t> keys;
      for (int64_t b = 0; b < size.batch; ++b) keys.push_back(static_cast<int64_t>(random.next()));
      Fenced<uint8_t> observation(pixels);
      Fenced<int64_t> seeds(keys);
      Fenced<float> out(static_cast<int64_t>(pixels.size()));
      const ImagesProblem problem{size.steps,         size.batch,   size.values, bit_depth,
                                  observation.data(), seeds.data(), out.data()};
      const char* error = make(problem);
      if (error != nullptr) report_failure(__FILE__, __LINE__, error);
      CHECK(out.equals(oracle_images(problem)));
      CHECK(observation.equals(pixels) && seeds.equals(keys));
    }
  }
}

}  // namespace planet::tests
