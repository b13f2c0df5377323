// How the products of a model are computed.
#pragma once

namespace planet {

// Everything between the products is float32. int8 is for CPUs, fp16 for CUDA devices; bf16 is for
// both. cpu::kernels_name says what an instruction set has.
enum class Precision : int { kFloat32 = 0, kInt8 = 1, kFloat16 = 2, kBfloat16 = 3 };

constexpr int kPrecisions = 4;

inline const char* precision_name(Precision precision) {
  constexpr const char* kNames[kPrecisions] = {"fp32", "int8", "fp16", "bf16"};
  return kNames[static_cast<int>(precision)];
}

}  // namespace planet
