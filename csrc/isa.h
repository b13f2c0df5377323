// The instruction sets that the CPU kernels are compiled for.
#pragma once

namespace planet::cpu {

// Index of an instruction set; larger is wider. Packed weights belong to one of them.
using Isa = int;

// How many were compiled in; 0 is the baseline of the architecture.
int isa_count();

// "baseline", "avx2", "avx512" or "avx512vnni" (float32 as avx512, and int8) on x86-64; "neon" on
// aarch64. 0 <= isa < isa_count().
const char* isa_name(Isa isa);

// Whether this processor and operating system run it.
bool isa_supported(Isa isa);

// Whether it has kernels for Precision::kInt8.
bool isa_has_int8(Isa isa);

// The widest supported one, or with `cap` (a name) the widest supported one not wider than that;
// -1 if `cap` names none. cap: may be null.
Isa best_isa(const char* cap);

}  // namespace planet::cpu
