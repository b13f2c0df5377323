#include "colour.h"

#include <algorithm>
#include <cmath>

namespace planet {
namespace {

constexpr double kPi = 3.141592653589793;

// Square roots of the covariance's eigenvalues, frequency by frequency.
std::vector<double> roots(int64_t horizon, double colour, Numerics numerics) {
  std::vector<double> out;
  for (int64_t k = 0; k < horizon; ++k) {
    const int64_t frequency = std::max(std::min(k, horizon - k), int64_t{1});
    out.push_back(std::pow(static_cast<double>(frequency), -colour));
  }
  double total = 0;
  if (numerics == Numerics::kUnit) {
    for (const double power : out) total += power;
  } else {
    const int64_t highest = horizon / 2;
    for (int64_t k = 1; k < highest; ++k) total += out[k];
    total = 2.0 * total + (horizon % 2 == 0 ? 0.5 : 2.0) * out[highest];
  }
  for (double& power : out) power = std::sqrt(power * static_cast<double>(horizon) / total);
  return out;
}

}  // namespace

std::vector<float> colour_mix(int64_t horizon, double colour, Numerics numerics) {
  const std::vector<double> root = roots(horizon, colour, numerics);
  const auto steps = static_cast<double>(horizon);
  std::vector<double> wave;
  for (int64_t m = 0; m < horizon; ++m) {
    wave.push_back(std::cos(2.0 * kPi * static_cast<double>(std::min(m, horizon - m)) / steps));
  }
  std::vector<float> row, out;
  for (int64_t lag = 0; lag < horizon; ++lag) {
    double sum = 0;
    for (int64_t k = 0; k < horizon; ++k) sum += root[k] * wave[k * lag % horizon];
    row.push_back(static_cast<float>(sum / steps));
  }
  for (int64_t t = 0; t < horizon; ++t) {
    for (int64_t u = 0; u < horizon; ++u) out.push_back(row[(t - u + horizon) % horizon]);
  }
  return out;
}

}  // namespace planet
