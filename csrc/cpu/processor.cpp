#include "processor.h"

#include <cpuid.h>
#include <errno.h>

#include <atomic>
#include <cstring>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace planet::cpu {
namespace {

constexpr uint32_t kOsxsave = 1u << 27;    // leaf 1, ecx: xgetbv may be used
constexpr uint32_t kAvx512Bf16 = 1u << 5;  // leaf 7, subleaf 1, eax
constexpr uint32_t kAmxBf16 = 1u << 22;    // leaf 7, subleaf 0, edx
constexpr uint32_t kAmxTile = 1u << 24;    // likewise
constexpr uint64_t kTileState = uint64_t{1} << 17 | uint64_t{1} << 18;  // XCR0: configuration, data

std::atomic<int> permission{kNotAsked};

Processor read_words() {
  Processor out{};
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx)) {
    out.vendor[0] = ebx;
    out.vendor[1] = edx;
    out.vendor[2] = ecx;
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    out.leaf7_edx = edx;
    if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) out.leaf7_1eax = eax;
  }
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & kOsxsave) != 0) {
    uint32_t low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    out.saved = uint64_t{high} << 32 | low;
  }
  return out;
}

}  // namespace

Processor this_processor() {
  static const Processor words = read_words();  // virtual machines take microseconds for each cpuid
  Processor out = words;
  out.permission = permission;
  return out;
}

const char* bf16_refusal(const Processor& processor) {
  return (processor.leaf7_1eax & kAvx512Bf16) != 0 ? nullptr : "the processor has no AVX512-BF16";
}

const char* amx_refusal(const Processor& processor) {
  if ((processor.leaf7_edx & kAmxTile) == 0) return "the processor has no AMX";
  if ((processor.leaf7_edx & kAmxBf16) == 0) return "the processor's AMX has no bf16";
  if ((processor.saved & kTileState) != kTileState) {
    return "the operating system or the hypervisor does not save AMX's tiles";
  }
  switch (processor.permission) {
    case 0:
    case kNotAsked:
      return nullptr;
    case kNotLinux:
      return "AMX's tiles are used on Linux alone";
    case ENOSYS:
    case EINVAL:
      return "the kernel grants no permission to use AMX's tiles (Linux has since 5.16)";
    case EPERM:
    case EACCES:
      return "a sandbox refuses the permission to use AMX's tiles (arch_prctl)";
    case ENOSPC:
      return "the signal stack of a thread (sigaltstack) is too small for AMX's tiles";
    default:
      return "the kernel refuses the permission to use AMX's tiles (arch_prctl)";
  }
}

bool bf16_is_fast(const Processor& processor) {
  for (const char* vendor : {"AuthenticAMD", "HygonGenuine"}) {
    if (std::memcmp(processor.vendor, vendor, sizeof(processor.vendor)) == 0) return true;
  }
  return false;
}

void ask_for_tiles() {
  // Two threads at once may both ask, and get the same answer.
  if (permission == kNotAsked) permission = request_tiles();
}

int request_tiles() {
#if defined(__linux__)
  constexpr int kGetPermissions = 0x1022, kRequestPermission = 0x1023, kTileData = 18;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) return errno;
  // A sandbox may do nothing and report success; the first tile would then end the process.
  uint64_t granted = 0;
  if (syscall(SYS_arch_prctl, kGetPermissions, &granted) != 0) return errno;
  return (granted >> kTileData & 1) != 0 ? 0 : EPERM;
#else
  return kNotLinux;
#endif
}

}  // namespace planet::cpu
