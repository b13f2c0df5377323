// What one core can do at most: multiply-add instructions on registers, and reads of memory.
//
//   ceilings KERNEL THREADS SECONDS [BYTES]
//
// KERNEL: fma_avx2, fma_avx512, int8_avx512vnni, bf16_avx512bf16, bf16_amx (ceilings_amx.cpp),
// fma_neon, read. Prints the rate of all threads together: 10^9 operations (a multiply-add is two)
// or bytes per second, the best of many short stretches; "unsupported" if the processor lacks the
// instructions. `read` goes over BYTES again
// and again, each thread over its own.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

const char* amx_refusal();
double bf16_amx(long rounds);

namespace {

using Clock = std::chrono::steady_clock;

// Each stretch does this many rounds of the assembly below; each line of it is one instruction on
// its own accumulator, enough of them to hide the latency (10 for AVX2, 20 for AVX-512).
constexpr long kRounds = 20000;

#if defined(__x86_64__)
#define TEN(op, reg, a, b)                                                                       \
  op " " a ", " b ", " reg "0\n\t" op " " a ", " b ", " reg "1\n\t" op " " a ", " b ", " reg     \
     "2\n\t" op " " a ", " b ", " reg "3\n\t" op " " a ", " b ", " reg "4\n\t" op " " a ", " b   \
     ", " reg "5\n\t" op " " a ", " b ", " reg "6\n\t" op " " a ", " b ", " reg "7\n\t" op " " a \
     ", " b ", " reg "8\n\t" op " " a ", " b ", " reg "9\n\t"
#define TWENTY(op, reg, a, b) TEN(op, reg, a, b) TEN(op, reg "1", a, b)
#define LOW \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm14", "xmm15"
#define HIGH \
  "xmm10", "xmm11", "xmm12", "xmm13", "xmm16", "xmm17", "xmm18", "xmm19", "xmm30", "xmm31"
#define LOOP(zero, body, ...)                                           \
  long rounds = kRounds;                                                \
  asm volatile("vzeroall\n\t" zero "1:\n\t" body "dec %0\n\tjnz 1b\n\t" \
               : "+r"(rounds)                                           \
               :                                                        \
               : "cc", __VA_ARGS__)

// Operands and accumulators are zero: no denormals, and the clock is that of full load all the
// same.
__attribute__((target("avx2,fma"))) double fma_avx2() {
  LOOP("", TEN("vfmadd231ps", "%%ymm", "%%ymm14", "%%ymm15"), LOW);
  return 10.0 * 8 * 2 * kRounds;
}

#define ZERO_HIGH "vpxord %%zmm30, %%zmm30, %%zmm30\n\tvpxord %%zmm31, %%zmm31, %%zmm31\n\t"

__attribute__((target("avx512f"))) double fma_avx512() {
  LOOP(ZERO_HIGH, TWENTY("vfmadd231ps", "%%zmm", "%%zmm30", "%%zmm31"), LOW, HIGH);
  return 20.0 * 16 * 2 * kRounds;
}

__attribute__((target("avx512f"))) double int8_avx512vnni() {
  LOOP(ZERO_HIGH, TWENTY("vpdpbusd", "%%zmm", "%%zmm30", "%%zmm31"), LOW, HIGH);
  return 20.0 * 64 * 2 * kRounds;
}

__attribute__((target("avx512f,avx512bf16"))) double bf16_avx512bf16() {
  LOOP(ZERO_HIGH, TWENTY("vdpbf16ps", "%%zmm", "%%zmm30", "%%zmm31"), LOW, HIGH);
  return 20.0 * 32 * 2 * kRounds;
}

__attribute__((target("avx2"))) void read(const char* from, const char* to) {
  for (; from < to; from += 256) {
    asm volatile(
        "vmovaps (%0), %%ymm0\n\tvmovaps 32(%0), %%ymm1\n\t"
        "vmovaps 64(%0), %%ymm2\n\tvmovaps 96(%0), %%ymm3\n\t"
        "vmovaps 128(%0), %%ymm4\n\tvmovaps 160(%0), %%ymm5\n\t"
        "vmovaps 192(%0), %%ymm6\n\tvmovaps 224(%0), %%ymm7\n\t"
        :
        : "r"(from)
        : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
  }
}
#elif defined(__aarch64__)
double fma_neon() {
  long rounds = kRounds;
  asm volatile("1:\n\t"
#define FMLA(i) "fmla v" #i ".4s, v30.4s, v31.4s\n\t"
               FMLA(0) FMLA(1) FMLA(2) FMLA(3) FMLA(4) FMLA(5) FMLA(6) FMLA(7) FMLA(8) FMLA(9)
                   FMLA(10) FMLA(11) FMLA(12) FMLA(13) FMLA(14)
                       FMLA(15) "subs %0, %0, #1\n\tb.ne 1b\n\t"
               : "+r"(rounds)
               :
               : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
                 "v12", "v13", "v14", "v15");
  return 16.0 * 4 * 2 * kRounds;
}

void read(const char* from, const char* to) {
  for (; from < to; from += 64) {
    asm volatile("ldp q0, q1, [%0]\n\tldp q2, q3, [%0, #32]\n\t" ::"r"(from)
                 : "memory", "v0", "v1", "v2", "v3");
  }
}
#endif

double (*kernel(const std::string& name))() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (name == "fma_avx2" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return fma_avx2;
  if (name == "fma_avx512" && __builtin_cpu_supports("avx512f")) return fma_avx512;
  if (name == "int8_avx512vnni" && __builtin_cpu_supports("avx512vnni")) return int8_avx512vnni;
  if (name == "bf16_avx512bf16" && __builtin_cpu_supports("avx512bf16")) return bf16_avx512bf16;
#elif defined(__aarch64__)
  if (name == "fma_neon") return fma_neon;
#endif
  if (name == "bf16_amx" && amx_refusal() == nullptr) return [] { return bf16_amx(kRounds); };
  return nullptr;
}

// Best rate of one thread.
template <typename Stretch>
double best_rate(double seconds, std::atomic<int>& waiting, const Stretch& stretch) {
  stretch();
  --waiting;
  while (waiting > 0) {
  }
  double best = 0;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (auto began = Clock::now(); began < end;) {
    const double done = stretch();
    const auto now = Clock::now();
    best = std::max(best, done / std::chrono::duration<double>(now - began).count());
    began = now;
  }
  return best;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) return 2;
  const std::string name = arguments[1];
  const int threads = std::atoi(arguments[2]);
  const double seconds = std::atof(arguments[3]);
  const long bytes = count > 4 ? std::atol(arguments[4]) / 256 * 256 : 0;
  double (*const run)() = kernel(name);
  if (run == nullptr && name != "read") {
    std::puts("unsupported");
    return 0;
  }
  std::atomic<int> waiting{threads};
  std::vector<double> rates(threads);
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) {
    pool.emplace_back([&, i] {
      if (name != "read") {
        rates[i] = best_rate(seconds, waiting, run);
        return;
      }
      char* memory = static_cast<char*>(std::aligned_alloc(256, bytes));
      std::memset(memory, 1, bytes);
      const long times = std::max(1L, (32L << 20) / bytes);
      rates[i] = best_rate(seconds, waiting, [&] {
        for (long pass = 0; pass < times; ++pass) read(memory, memory + bytes);
        return double(times) * double(bytes);
      });
      std::free(memory);
    });
  }
  double sum = 0;
  for (int i = 0; i < threads; ++i) {
    pool[i].join();
    sum += rates[i];
  }
  std::printf("%.3f\n", 1e-9 * sum);
}
