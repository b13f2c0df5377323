// The activations for half precision: their errors, where they end, and NaN.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cuda/activations.cuh"
#include "emulator.h"
#include "harness.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;
using emulator::Device;
using emulator::DeviceScope;

constexpr float kInfinite = std::numeric_limits<float>::infinity();
// What float32 adds to results up to 1.
constexpr double kRounding = 0x1p-23;

double sigmoid_of(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

double softplus_of(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

// From -150 to 150, closer together near zero.
std::vector<float> arguments() {
  std::vector<float> out = {0.0f, -0.0f, 0x1p-140f, -0x1p-140f};
  for (int i = 1; i <= 30000; ++i) {
    const float x = std::pow(static_cast<float>(i) / 30000.0f, 4.0f) * 150.0f;
    out.insert(out.end(), {x, -x});
  }
  return out;
}

// h' with gates r and z of their arguments' halves.
double belief_of(double r, double z, double from_x, double from_h, double h) {
  const double n = std::tanh(from_x + sigmoid_of(2.0 * r) * from_h);
  return n + sigmoid_of(2.0 * z) * (h - n);
}

}  // namespace

TEST("CUDA: half precision's activations are off by what their instructions may be") {
  double sigmoid_error = 0.0, softplus_error = 0.0, tanh_error = 0.0, exact_error = 0.0;
  for (const float x : arguments()) {
    const double exact = static_cast<double>(x), tanh = std::tanh(exact);
    const auto error = [](float got, double expected) {
      return std::abs(static_cast<double>(got) - expected);
    };
    sigmoid_error =
        std::max(sigmoid_error, error(half_sigmoid_of_twice(x), sigmoid_of(2.0 * exact)));
    if (x != 0.0f) {
      tanh_error = std::max(tanh_error, error(approximate_tanh(x), tanh) / std::abs(tanh));
    }
    const double softplus = softplus_of(exact);
    softplus_error =
        std::max(softplus_error, error(half_softplus(x), softplus) - kRounding * softplus);
    Device device = Device::sm_90();
    device.function_error = 0.0;
    const DeviceScope scope(device);
    exact_error = std::max({exact_error, error(half_sigmoid_of_twice(x), sigmoid_of(2.0 * exact)),
                            error(half_softplus(x), softplus) - kRounding * softplus});
  }
  CHECK_AT_MOST(tanh_error, 0x1p-11 + kRounding);
  CHECK_AT_MOST(sigmoid_error, 0x1p-12 + kRounding);
  CHECK_AT_MOST(softplus_error, 0x1p-22 + kRounding);
  CHECK_AT_MOST(exact_error, 2.0 * kRounding);
  // The emulated errors are there: what passes with them has met the worst.
  CHECK(tanh_error > 0.99 * 0x1p-11);
  CHECK(sigmoid_error > 0.99 * 0x1p-12);
}

TEST("CUDA: half precision's activations hold at the ends, and NaN goes through") {
  for (const float x : {100.0f, 1e4f, 3e38f, kInfinite}) {
    const Scope scope("x ", x);
    CHECK_EQUAL(half_softplus(x), x);
    CHECK_AT_MOST(std::abs(half_softplus(-x)), 0x1p-22f);
    CHECK_AT_MOST(std::abs(half_sigmoid_of_twice(x) - 1.0f), 0x1p-12f);
    CHECK_AT_MOST(std::abs(half_sigmoid_of_twice(-x)), 0x1p-12f);
  }
  CHECK_EQUAL(half_sigmoid_of_twice(kInfinite), 1.0f);
  CHECK_EQUAL(half_sigmoid_of_twice(-kInfinite), 0.0f);
  CHECK_EQUAL(half_sigmoid_of_twice(0.0f), 0.5f);
  CHECK(std::isnan(half_sigmoid_of_twice(NAN)));
  CHECK(std::isnan(half_softplus(NAN)));
  for (const float floor : {0.5f, -0.5f}) {
    CHECK(std::isnan(half_stddev(NAN, floor)));
    CHECK_EQUAL(half_stddev(1e30f, floor), 1e30f);
    CHECK_AT_MOST(std::abs(half_stddev(-1e30f, floor) - 0.5f), 0x1p-22f);
  }
  for (int i = 0; i < 5; ++i) {
    float x[5] = {0.3f, -0.2f, 0.7f, 0.4f, 0.1f};
    CHECK_AT_MOST(std::abs(static_cast<double>(half_belief(x[0], x[1], x[2], x[3], x[4])) -
                           belief_of(x[0], x[1], x[2], x[3], x[4])),
                  0x1p-10);
    x[i] = NAN;
    CHECK(std::isnan(half_belief(x[0], x[1], x[2], x[3], x[4])));
  }
}

}  // namespace planet::tests
