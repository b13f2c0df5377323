// The approximate functions of bf16 kernels against double precision, over all of float32's range.
#include "rational.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "harness.h"

namespace planet::tests {
namespace {

struct Named {
  const char* name;
  const Functions& functions;
};

std::vector<Named> all_functions() {
  std::vector<Named> out = {{"anywhere", rational_anywhere}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512dq")) out.push_back({"AVX-512", rational_avx512});
#endif
  return out;
}

// Calls body with numbers of every exponent and both signs.
template <class Body>
void for_each_number(Body body) {
  const uint32_t step = options().quick ? 99991 : 1999, infinity = 0x7F800000;
  for (uint32_t bits = 0; bits < infinity; bits += step) {
    for (const uint32_t sign : {0u, 0x80000000u}) body(std::bit_cast<float>(bits | sign));
  }
}

}  // namespace

TEST("approximate functions are as near as the reference of bf16 says") {
  for (const auto& [name, functions] : all_functions()) {
    const Scope scope(name);
    double tanh = 0.0, sigmoid = 0.0, softplus = 0.0;
    for_each_number([&](float x) {
      const double exact = x, root = std::tanh(exact);
      const double soft = std::max(exact, 0.0) + std::log1p(std::exp(-std::abs(exact)));
      const auto over = [](double error, double size) { return std::abs(error) / size; };
      // Below its normal numbers float32 has no more than its smallest steps.
      tanh = std::max(tanh, over(functions.tanh(x) - root, std::abs(root) + 0x1p-120));
      sigmoid = std::max(sigmoid, std::abs(functions.sigmoid(x) - 1.0 / (1.0 + std::exp(-exact))));
      // An exponential's argument is rounded: by |x| 2^-24.
      if (exact > -80.0) {
        const double rounding = std::min(std::abs(exact), 80.0) * 0x1p-24;
        softplus = std::max(softplus, over(functions.softplus(x) - soft, soft) - rounding);
      }
    });
    CHECK_AT_MOST(tanh, 0x1p-11);
    CHECK_AT_MOST(sigmoid, 0x1p-12);
    CHECK_AT_MOST(softplus, 0x1p-21);
    note(std::string(name) + ": tanh " + show(tanh) + ", sigmoid " + show(sigmoid) + ", softplus " +
         show(softplus));
  }
}

TEST("approximate functions keep to their ranges and end where the exact ones do") {
  for (const auto& [name, functions] : all_functions()) {
    const Scope scope(name);
    for_each_number([&functions](float x) {
      const float softplus = functions.softplus(x);
      if (!(std::abs(functions.tanh(x)) <= 1.001f && functions.sigmoid(x) >= -0.001f &&
            functions.sigmoid(x) <= 1.001f && softplus >= 0.0f && softplus >= x)) {
        CHECK_EQUAL(x, 0.0f);
      }
      if (std::abs(x) < 0x1p-20f) CHECK_AT_MOST(std::abs(functions.sigmoid(x) - 0.5f), 0x1p-20f);
    });
    CHECK_EQUAL(functions.tanh(0.0f), 0.0f);
    for (const float x : {100.0f, 3e38f, INFINITY}) CHECK_EQUAL(functions.softplus(x), x);
    CHECK_AT_MOST(functions.softplus(-INFINITY), 0x1p-100f);
    CHECK(std::isnan(functions.softplus(NAN)));
    CHECK(std::isnan(functions.tanh(NAN)) && std::isnan(functions.sigmoid(NAN)));
  }
}

}  // namespace planet::tests
