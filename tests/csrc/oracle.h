// The operations once more, to compare with: in double precision, one number at a time, from the
// formulas of the headers. Nothing here uses the kernels.
#pragma once

#include <stdint.h>

#include <vector>

#include "normals.h"
#include "random_filter.h"
#include "random_model.h"
#include "rational.h"
#include "refit.h"

namespace planet::tests {

struct Returns {
  std::vector<double> values;  // [B, J]
  double scale;                // what errors are divided by: their rms, at least 1e-2
  double magnitude;            // rms of the sums of |term| that the rewards were summed from

  // Candidates [0, count) of every problem, with the scale of all.
  Returns first(int64_t batch, int64_t count) const;
};

// The noise is kNone or kValues. With kInt8, weights and activations are quantised; with kBfloat16,
// rounded. Without functions, they are exact.
Returns oracle_returns(const RandomModel& model, Precision precision, const Rollout& rollout,
                       const Functions* functions = nullptr);

// [D]: the belief that an action leads to from one latent, belief [D] and state [S].
std::vector<double> oracle_belief(const RandomModel& model, const std::vector<float>& belief,
                                  const std::vector<float>& state, const float* action);

// One row filtered: belief [D], and what the state [S] is sampled from.
struct Posterior {
  std::vector<double> belief, mean, stddev, normals;

  std::vector<double> state() const;
};
Posterior oracle_posterior(const RandomModel& model, const RandomFilter& filter,
                           const Filtering& row);

// Philox4x32-10 after Salmon et al. (SC 2011), in its plainest form.
void oracle_philox(uint32_t (&counter)[4], uint32_t key0, uint32_t key1);

// [candidates, dims]: Box and Muller (1958) on the words and uniforms of csrc/philox.h.
std::vector<double> oracle_normals(int64_t seed, const NormalsCounter& counter, int64_t candidates,
                                   int dims);

// The largest error of normals, in units of the contract's bound (NaN if there is one).
double normals_error(const std::vector<float>& got, const std::vector<double>& expected);

// Ranks 0..K-1 of `returns` [J] by a sort of all: descending, NaN last, ties to the lower index.
std::vector<int64_t> oracle_elites(const float* returns, int64_t candidates, int64_t topk);

// What elites weigh, by rank: softmax((R - max R) / temperature), or all alike without one.
std::vector<double> oracle_weights(const float* returns, const std::vector<int64_t>& elites,
                                   double temperature);

// The distribution of elites' actions in float64, not rounded: summed in the order of their rank.
struct Fitted {
  double mean, stddev;
};
Fitted oracle_fit(const std::vector<float>& of_elites, const std::vector<double>& weights,
                  Spread spread, double epsilon);

// |got - expected| / scale of each, and the largest of them (NaN if there is one).
std::vector<double> returns_errors(const std::vector<float>& got, const Returns& expected);
double returns_error(const std::vector<float>& got, const Returns& expected);

}  // namespace planet::tests
