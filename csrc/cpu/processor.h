// What an x86-64 processor and its operating system say of bf16 and of AMX's tiles, and the
// permission to use tiles, for which Linux wants to be asked.
#pragma once

#include <stdint.h>

namespace planet::cpu {

// No answer to the question for the permission, which otherwise is 0 or an errno.
constexpr int kNotAsked = -1;
constexpr int kNotLinux = -2;  // and nobody to ask

// The words that decide.
struct Processor {
  uint32_t vendor[3];   // cpuid, leaf 0: ebx, edx, ecx
  uint32_t leaf7_edx;   // cpuid, leaf 7, subleaf 0
  uint32_t leaf7_1eax;  // subleaf 1
  uint64_t saved;       // XCR0, the registers that the operating system saves; 0: it does not say
  int permission;       // to use tiles
};

// Reads the words; it asks for nothing.
Processor this_processor();

// Null, or why it has no AVX512-BF16, a string that lives for ever; as the next.
const char* bf16_refusal(const Processor& processor);

// Why it does not run AMX with bf16. Null before the question means: as far as is known.
const char* amx_refusal(const Processor& processor);

// Whether products of bf16 take less time than those of float32: so do AMD's, while Intel's
// vdpbf16ps takes twice its float32 multiply-add's.
bool bf16_is_fast(const Processor& processor);

// Asks the operating system for the permission to use tiles, once in the life of a process. It
// holds for all threads, those that are there included, and in forked children; an exec loses it.
// From then on signal stacks that are too small for tiles are refused by sigaltstack.
void ask_for_tiles();

// The question itself. Returns 0, an errno, or kNotLinux.
int request_tiles();

}  // namespace planet::cpu
