// The functions that a model's equations need, as kernels compute them.
#pragma once

namespace planet::tests {

struct Functions {
  float (*tanh)(float);
  float (*sigmoid)(float);
  float (*softplus)(float);
};

// Those of bf16 kernels: for any processor, and for AVX-512 (call these only there).
extern const Functions rational_anywhere;
extern const Functions rational_avx512;

}  // namespace planet::tests
