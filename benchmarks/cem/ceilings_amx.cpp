// What one core's AMX unit can do at most: tdpbf16ps on tile registers.
//
// The only file that is compiled for AMX; ceilings.cpp calls it after amx_refusal() gave no reason.
// Tiles belong to a thread and are configured and released within a stretch.
#if defined(__linux__) && defined(__AMX_TILE__) && defined(__AMX_BF16__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kRows = 16, kColumns = 16, kPairs = 16;  // of a tile: 16 rows of 64 bytes

// The layout of ldtilecfg's operand, palette 1.
struct alignas(64) Configuration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {kRows, kRows, kRows, kRows, kRows, kRows, kRows, kRows};
};
static_assert(sizeof(Configuration) == 64);

}  // namespace

// Null, or why this process cannot use the tiles; asks the system for its permission.
const char* amx_refusal() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool known = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0;
  if (!known || (d >> 22 & 1) == 0 || (d >> 24 & 1) == 0) return "the processor has no AMX in bf16";
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c >> 27 & 1) == 0) return "the system keeps no state";
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x60000u) != 0x60000u) return "the system keeps no tiles";
  constexpr int kAskPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  if (syscall(SYS_arch_prctl, kAskPermission, kTileData) != 0) return std::strerror(errno);
  return nullptr;
}

// Multiplies tiles of ones so many times, 4 products a round into an accumulator each, which hides
// the latency; returns the operations. Ends the process if the sums are not those of ones.
double bf16_amx(long rounds) {
  const Configuration configuration;
  alignas(64) std::uint16_t ones[kRows * 2 * kPairs];
  for (std::uint16_t& one : ones) one = 0x3f80;
  alignas(64) static thread_local float sums[4][kRows * kColumns];
  long left = rounds;
  const long stride = 64;
  asm volatile(
      "ldtilecfg (%[configuration])\n\t"
      "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
      "tileloadd (%[ones],%[stride]), %%tmm4\n\ttileloadd (%[ones],%[stride]), %%tmm5\n\t"
      "tileloadd (%[ones],%[stride]), %%tmm6\n\ttileloadd (%[ones],%[stride]), %%tmm7\n\t"
      "1:\n\t"
      "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\ttdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
      "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\ttdpbf16ps %%tmm7, %%tmm5, %%tmm3\n\t"
      "dec %[left]\n\tjnz 1b\n\t"
      "tilestored %%tmm0, (%[sums],%[stride])\n\ttilestored %%tmm1, 1024(%[sums],%[stride])\n\t"
      "tilestored %%tmm2, 2048(%[sums],%[stride])\n\ttilestored %%tmm3, 3072(%[sums],%[stride])\n\t"
      "tilerelease\n\t"
      : [left] "+r"(left)
      :
      [configuration] "r"(&configuration), [ones] "r"(ones), [stride] "r"(stride), [sums] "r"(sums)
      : "cc", "memory");
  for (const auto& tile : sums) {
    for (const float sum : tile) {
      if (sum != 2.0f * kPairs * static_cast<float>(rounds)) {
        std::fprintf(stderr, "tdpbf16ps: expected sums of %ld ones, got %g\n", 2 * kPairs * rounds,
                     sum);
        std::_Exit(1);
      }
    }
  }
  return 4.0 * kRows * kColumns * kPairs * 2 * 2 * static_cast<double>(rounds);
}
#else
const char* amx_refusal() {
  return "this compiler does not know AMX";
}
double bf16_amx(long) {
  return 0;
}
#endif
