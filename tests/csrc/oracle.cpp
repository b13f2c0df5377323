#include "oracle.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace planet::tests {
namespace {

constexpr double kPi = 3.14159265358979323846;

}  // namespace

void oracle_philox(uint32_t (&c)[4], uint32_t key0, uint32_t key1) {
  for (uint32_t round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ (key0 + round * 0x9E3779B9u),
                              static_cast<uint32_t>(b),
                              static_cast<uint32_t>(a >> 32) ^ c[3] ^ (key1 + round * 0xBB67AE85u),
                              static_cast<uint32_t>(a)};
    std::copy(next, next + 4, c);
  }
}

std::vector<double> oracle_normals(int64_t seed, const NormalsCounter& counter, int64_t candidates,
                                   int dims) {
  std::vector<double> out(static_cast<size_t>(candidates * dims));
  for (int64_t c = 0; c < candidates; ++c) {
    for (int dim = 0; dim < dims; ++dim) {
      uint32_t words[4] = {static_cast<uint32_t>(c >> 2),
                           static_cast<uint32_t>(dim) | counter.stream << 16,
                           counter.time | counter.iteration << 16, counter.particle};
      oracle_philox(words, static_cast<uint32_t>(seed),
                    static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32));
      const int pair = static_cast<int>(c & 2);
      const double u0 = ((words[pair] >> 8) + 0.5) * 0x1p-24;
      const double u1 = ((words[pair + 1] >> 8) + 0.5) * 0x1p-24;
      const double radius = std::sqrt(-2.0 * std::log(u0)), angle = 2.0 * kPi * u1;
      out[static_cast<size_t>(c * dims + dim)] =
          radius * (c & 1 ? std::sin(angle) : std::cos(angle));
    }
  }
  return out;
}

double normals_error(const std::vector<float>& got, const std::vector<double>& expected) {
  double largest = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - expected[i]);
    const double error = difference / (4e-7 + 4e-7 * std::abs(expected[i]));
    if (std::isnan(error)) return error;
    largest = std::max(largest, error);
  }
  return largest;
}

std::vector<int64_t> oracle_elites(const float* returns, int64_t candidates, int64_t topk) {
  std::vector<int64_t> order(static_cast<size_t>(candidates));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (std::isnan(returns[a])) return false;
    return std::isnan(returns[b]) || returns[a] > returns[b];
  });
  order.resize(static_cast<size_t>(topk));
  return order;
}

std::vector<double> oracle_weights(const float* returns, const std::vector<int64_t>& elites,
                                   double temperature) {
  std::vector<double> weights;
  const double best = returns[elites[0]];
  for (const int64_t j : elites) {
    const double value = returns[j];
    if (temperature == 0.0 || std::isnan(best)) {
      weights.push_back(1.0);
    } else if (std::isinf(best)) {
      weights.push_back(value == best);
    } else {
      weights.push_back(std::isnan(value) ? 0.0 : std::exp((value - best) / temperature));
    }
  }
  if (temperature == 0.0) return weights;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

Fitted oracle_fit(const std::vector<float>& of_elites, const std::vector<double>& weights,
                  Spread spread, double epsilon) {
  const size_t topk = of_elites.size();
  // Weights that are all 1 are no shares yet.
  const bool shares =
      std::any_of(weights.begin(), weights.end(), [](double w) { return w != 1.0; });
  const double whole = shares ? 1.0 : static_cast<double>(topk);
  Fitted out{};
  for (size_t k = 0; k < topk; ++k) out.mean += weights[k] * static_cast<double>(of_elites[k]);
  out.mean /= whole;
  for (size_t k = 0; k < topk; ++k) {
    const double error = static_cast<double>(of_elites[k]) - out.mean;
    out.stddev += weights[k] * (spread == Spread::kPopulation ? error * error : std::abs(error));
  }
  out.stddev = spread == Spread::kPopulation ? std::sqrt(out.stddev / whole + epsilon)
                                             : out.stddev / static_cast<double>(topk - 1);
  return out;
}

}  // namespace planet::tests
