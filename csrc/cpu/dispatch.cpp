// Chooses among the compiled instruction sets at run time.
#include <cstring>

#include "panel.h"
#include "processor.h"

namespace planet::cpu {
namespace {

struct Entry {
  const char* name;
  const KernelSet* float32;
  const KernelSet* int8;  // or null, as is the next
  const KernelSet* bf16;
  const char* (*refusal)();  // null, or why this machine does not run it
  bool (*by_default)();      // whether it is taken without being named
};

const char* none() {
  return nullptr;
}

bool always() {
  return true;
}

[[maybe_unused]] bool never() {
  return false;
}

#if defined(__x86_64__)
// __builtin_cpu_supports also asks whether the operating system saves the registers.
const char* avx2_refusal() {
  const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has ? nullptr : "the processor has no AVX2 with FMA";
}

const char* avx512_refusal() {
  const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("fma");
  return has ? nullptr : "the processor has no AVX-512 (F, DQ, VL, BW)";
}

const char* vnni_refusal() {
  const char* refusal = avx512_refusal();
  if (refusal == nullptr && !__builtin_cpu_supports("avx512vnni")) {
    refusal = "the processor has no AVX512-VNNI";
  }
  return refusal;
}

const char* avx512bf16_refusal() {
  const char* refusal = vnni_refusal();
  return refusal != nullptr ? refusal : bf16_refusal(this_processor());
}

const char* tiles_refusal() {
  const char* refusal = avx512bf16_refusal();
  return refusal != nullptr ? refusal : amx_refusal(this_processor());
}

bool here_bf16_is_fast() {
  return bf16_is_fast(this_processor());
}

const Entry kSets[] = {
    {"baseline", &kernels_baseline, nullptr, nullptr, none, always},
    {"avx2", &kernels_avx2, nullptr, nullptr, avx2_refusal, always},
    {"avx512", &kernels_avx512, nullptr, nullptr, avx512_refusal, always},
    {"avx512vnni", &kernels_avx512, &kernels_avx512vnni, nullptr, vnni_refusal, always},
    {"avx512bf16", &kernels_avx512, &kernels_avx512vnni, &kernels_avx512bf16, avx512bf16_refusal,
     here_bf16_is_fast},
    {"amx", &kernels_avx512, &kernels_avx512vnni, &kernels_amx, tiles_refusal, always},
#if defined(PLANET_TILE_DOUBLE)
    {"amx-double", &kernels_baseline, nullptr, &kernels_amx_double, none, never},
#endif
};

// Asks for what a set may not use without a permission.
void ask(Isa isa) {
  if (kSets[isa].refusal == tiles_refusal) ask_for_tiles();
}
#else
const Entry kSets[] = {{"neon", &kernels_baseline, nullptr, nullptr, none, always}};

void ask(Isa) {}
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

bool has_own_kernels(Isa isa, Precision precision) {
  const char* name = kernels_name(isa, precision);
  return name != nullptr && std::strcmp(name, isa_name(isa)) == 0;
}

const char* isa_refusal(Isa isa) {
  return kSets[isa].refusal();
}

bool isa_supported(Isa isa) {
  if (isa_refusal(isa) != nullptr) return false;
  ask(isa);
  return isa_refusal(isa) == nullptr;
}

Isa best_isa(const char* cap) {
  Isa isa = kCount - 1;
  if (cap != nullptr) {
    while (isa >= 0 && std::strcmp(cap, kSets[isa].name) != 0) --isa;
    if (isa < 0 || isa_supported(isa)) return isa;
  }
  while (!(kSets[isa].by_default() && isa_supported(isa))) --isa;
  return isa;
}

}  // namespace planet::cpu
