// Coloured noise: the matrix against the process that it stands for.
#include "colour.h"

#include <cmath>
#include <string>

#include "harness.h"

namespace planet::tests {
namespace {

constexpr double kPi = 3.14159265358979323846;

// The covariance of two steps of the process: a standard normal for every cosine and sine, sqrt(2)
// of one where there is no sine, times the frequency's amplitude. The published one has the
// variance that its sum of squares says, in which frequency 0 is missing and 1/2 counts half its
// amplitude.
double covariance(int64_t horizon, double colour, Numerics numerics, int64_t t, int64_t u) {
  const auto of = [&](int64_t t, int64_t u) {
    double sum = 0;
    for (int64_t k = 0; 2 * k <= horizon; ++k) {
      const double f = static_cast<double>(k == 0 ? 1 : k) / static_cast<double>(horizon);
      const double angle = 2 * kPi * static_cast<double>(k) / static_cast<double>(horizon);
      const double x = angle * static_cast<double>(t), y = angle * static_cast<double>(u);
      const bool alone = k == 0 || 2 * k == horizon;
      const double waves = alone ? 2 * std::cos(x) * std::cos(y)
                                 : 4 * (std::cos(x) * std::cos(y) + std::sin(x) * std::sin(y));
      sum += std::pow(f, -colour) * waves;
    }
    return sum;
  };
  if (numerics == Numerics::kUnit) return of(t, u) / of(t, t);
  double squares = 0;
  for (int64_t k = 1; 2 * k <= horizon; ++k) {
    const double f = static_cast<double>(k) / static_cast<double>(horizon);
    squares += std::pow(f, -colour) * (2 * k == horizon ? 0.25 : 1.0);
  }
  return of(t, u) / (4 * squares);
}

}  // namespace

TEST("coloured noise has the covariance of its process") {
  for (const Numerics numerics : {Numerics::kUnit, Numerics::kIcem}) {
    for (const int64_t horizon : {1, 2, 3, 12, 13, 50}) {
      for (const double colour : {0.0, 0.25, 1.0, 2.5}) {
        if (numerics == Numerics::kIcem && horizon == 1) continue;
        const Scope scope("H ", horizon, ", colour ", colour, ", ", static_cast<int>(numerics));
        const std::vector<float> mix = colour_mix(horizon, colour, numerics);
        double worst = 0;
        for (int64_t t = 0; t < horizon; ++t) {
          for (int64_t u = 0; u < horizon; ++u) {
            double got = 0;
            for (int64_t v = 0; v < horizon; ++v) {
              got += double{mix[t * horizon + v]} * mix[u * horizon + v];
            }
            const double error = got - covariance(horizon, colour, numerics, t, u);
            worst = std::fmax(worst, std::fabs(error));
            CHECK(mix[t * horizon + u] == mix[u * horizon + t]);
          }
        }
        CHECK_AT_MOST(worst, 1e-6);  // entries are rounded to float32
      }
    }
  }
}

TEST("coloured noise has unit variance, or the published one") {
  const auto variance = [](int64_t horizon, double colour, Numerics numerics) {
    double sum = 0;
    const std::vector<float> mix = colour_mix(horizon, colour, numerics);
    for (int64_t u = 0; u < horizon; ++u) sum += double{mix[u]} * mix[u];
    return std::round(100 * sum) / 100;
  };
  CHECK_EQUAL(variance(12, 0.25, Numerics::kUnit), 1.0);
  CHECK_EQUAL(variance(12, 0.25, Numerics::kIcem), 1.16);
  CHECK_EQUAL(variance(12, 2.5, Numerics::kIcem), 1.39);
  CHECK_EQUAL(variance(12, 0.0, Numerics::kIcem), 1.14);
}

}  // namespace planet::tests
