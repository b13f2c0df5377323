// Chooses among the compiled instruction sets at run time.
#include <cstring>

#include "panel.h"

namespace planet::cpu {
namespace {

struct Entry {
  const char* name;
  const KernelSet* float32;
  const KernelSet* int8;  // or null, as is the next
  const KernelSet* bf16;
};

#if defined(__x86_64__)
const Entry kSets[] = {
    {"baseline", &kernels_baseline, nullptr, nullptr},
    {"avx2", &kernels_avx2, nullptr, nullptr},
    {"avx512", &kernels_avx512, nullptr, nullptr},
    {"avx512vnni", &kernels_avx512, &kernels_avx512vnni, nullptr},
    {"amx", &kernels_avx512, &kernels_avx512vnni, &kernels_amx},
#if defined(PLANET_TILE_DOUBLE)
    {"amx-double", &kernels_baseline, nullptr, &kernels_amx_double},
#endif
};
#else
const Entry kSets[] = {{"neon", &kernels_baseline, nullptr, nullptr}};
#endif
constexpr int kCount = sizeof(kSets) / sizeof(kSets[0]);

// Null without kernels of that precision.
const KernelSet* find(Isa isa, Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return kSets[isa].float32;
    case Precision::kInt8:
      return kSets[isa].int8;
    case Precision::kBfloat16:
      return kSets[isa].bf16;
    default:
      return nullptr;
  }
}

}  // namespace

int isa_count() {
  return kCount;
}

const char* isa_name(Isa isa) {
  return kSets[isa].name;
}

const KernelSet& kernel_set(Isa isa, Precision precision) {
  return *find(isa, precision);
}

const char* kernels_name(Isa isa, Precision precision) {
  const KernelSet* kernels = find(isa, precision);
  return kernels ? kernels->name : nullptr;
}

const char* isa_refusal(Isa isa) {
#if defined(__x86_64__)
  // These also ask whether the operating system saves the registers.
  const auto needs = [](bool has, const char* what) { return has ? nullptr : what; };
  if (isa == 1) {
    return needs(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"),
                 "the processor has no AVX2 with FMA");
  }
  if (isa >= 2 && kSets[isa].float32 == &kernels_avx512) {
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("fma"))) {
      return "the processor has no AVX-512 (F, DQ, VL, BW)";
    }
  }
  if (kSets[isa].float32 == &kernels_baseline) return nullptr;
  if (isa >= 3 && !__builtin_cpu_supports("avx512vnni")) return "the processor has no VNNI";
  if (kSets[isa].bf16 == &kernels_amx) return "its permission is not asked for yet";
#else
  static_cast<void>(isa);
#endif
  return nullptr;
}

bool isa_supported(Isa isa) {
  return isa_refusal(isa) == nullptr;
}

Isa best_isa(const char* cap) {
  int limit = kCount - 1;
  if (cap != nullptr) {
    for (limit = kCount - 1; limit >= 0; --limit) {
      if (std::strcmp(cap, kSets[limit].name) == 0) break;
    }
    if (limit < 0) return -1;
  }
  const auto chosen = [&](Isa isa) {
    if (cap == nullptr && std::strcmp(kSets[isa].name, "amx-double") == 0) return false;
    return isa_supported(isa);
  };
  while (!chosen(limit)) --limit;
  return limit;
}

}  // namespace planet::cpu
