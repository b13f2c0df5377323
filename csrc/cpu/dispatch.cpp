// Chooses among the compiled instruction sets at run time.
#include <cstring>

#include "panel.h"

namespace planet::cpu {
namespace {

struct Entry {
  const char* name;
  const KernelSet* float32;
  const KernelSet* int8;  // or null
};

#if defined(__x86_64__)
const Entry kSets[] = {{"baseline", &kernels_baseline, nullptr},
                       {"avx2", &kernels_avx2, nullptr},
                       {"avx512", &kernels_avx512, nullptr},
                       {"avx512vnni", &kernels_avx512, &kernels_avx512vnni}};
#else
const Entry kSets[] = {{"neon", &kernels_baseline, nullptr}};
#endif
constexpr int kCount = sizeof(kSets) / sizeof(kSets[0]);

}  // namespace

int isa_count() {
  return kCount;
}

const char* isa_name(Isa isa) {
  return kSets[isa].name;
}

const KernelSet& kernel_set(Isa isa, Precision precision) {
  return precision == Precision::kInt8 ? *kSets[isa].int8 : *kSets[isa].float32;
}

bool isa_has_int8(Isa isa) {
  return kSets[isa].int8 != nullptr;
}

bool isa_supported(Isa isa) {
#if defined(__x86_64__)
  // These also ask whether the operating system saves the registers.
  if (isa == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == 3) return isa_supported(2) && __builtin_cpu_supports("avx512vnni");
  if (isa == 2) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
  }
#endif
  return isa == 0;
}

Isa best_isa(const char* cap) {
  int limit = kCount - 1;
  if (cap != nullptr) {
    for (limit = kCount - 1; limit >= 0; --limit) {
      if (std::strcmp(cap, kSets[limit].name) == 0) break;
    }
    if (limit < 0) return -1;
  }
  while (!isa_supported(limit)) --limit;
  return limit;
}

}  // namespace planet::cpu
