// Random models and random inputs of the three operations.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "memory.h"
#include "model.h"

namespace planet::tests {

// SplitMix64 (Steele, Lea and Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  double uniform(double low, double high);
  double normal();
  int64_t integer(int64_t low, int64_t high);  // both included
  std::vector<float> uniforms(int64_t count, double low, double high);
  std::vector<float> normals(int64_t count);

 private:
  uint64_t state_;
};

struct Shape {
  int belief, state, action, hidden;
  std::vector<int> reward;  // rows of the reward matrices, the last one 1 or 2
  bool elu;
  bool clamp_stddev = false;

  ModelSizes sizes() const;
  std::string name() const;
};

// Around the edges of tiles, and those of the presets paper, official and small.
std::vector<Shape> small_shapes();
std::vector<Shape> preset_shapes();

// Weights and biases uniform in +-scale / sqrt(inputs), as torch.nn initialises them for scale 1.
struct RandomModel {
  ModelSizes sizes;
  float min_stddev = 0.1f;  // clamped: 0.7, near softplus of what these weights give
  std::vector<float> input_weight, input_bias, gru_weight_ih, gru_weight_hh, gru_bias_ih,
      gru_bias_hh, prior_hidden_weight, prior_hidden_bias, prior_weight, prior_bias;
  std::vector<std::vector<float>> reward_weights, reward_biases;

  RandomModel(const Shape& shape, Random& random, double scale = 1.0);
  ModelWeights weights() const;
};

// The kernels of one instruction set and precision.
struct Kernels {
  cpu::Isa isa;
  Precision precision;

  std::string name() const;
};

// Those that this machine runs, each under the first instruction set that has them; and those of a
// set that it was taught to run.
void run_too(cpu::Isa isa);
std::vector<Kernels> kernels_of(Precision precision);
std::vector<Kernels> all_kernels();
// All but the latter: what agents and planners choose by name.
std::vector<Kernels> chosen_kernels();

// A model packed into exactly packed_bytes.
class PackedModel {
 public:
  PackedModel(const RandomModel& model, Kernels kernels);
  cpu::Model model;

 private:
  Fenced<unsigned char> packed_;
};

enum class NoiseKind { kNone, kValues, kSeeds };

// The inputs of one rollout_returns.
struct Rollout {
  int64_t horizon, batch, candidates;
  bool per_candidate;
  double discount;
  NoiseKind noise;
  uint32_t iteration, particle;
  std::vector<float> belief, state, actions, values;  // values: [H, B, J, S] with kValues
  std::vector<int64_t> seeds;                         // [B]

  Rollout(const ModelSizes& sizes, int64_t horizon, int64_t batch, int64_t candidates,
          NoiseKind noise, bool per_candidate, double discount, Random& random);
};

// Indices [first, first + count) of the middle axis of [outer, inner, width].
std::vector<float> middle(const std::vector<float>& from, int64_t outer, int64_t inner,
                          int64_t width, int64_t first, int64_t count);

// Candidates [first, first + count) of every problem, and problem b alone. Seeded noise only fits a
// part that begins with candidate 0.
Rollout candidates_of(const Rollout& rollout, const ModelSizes& sizes, int64_t first,
                      int64_t count);
Rollout problem_of(const Rollout& rollout, const ModelSizes& sizes, int64_t problem);

}  // namespace planet::tests
