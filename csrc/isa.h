// The instruction sets that the CPU kernels are compiled for.
#pragma once

#include "precision.h"

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

// Null if so; otherwise what is missing, a string that lives for ever.
const char* isa_refusal(Isa isa);

// The set whose instructions compute that precision in this one (float32 of "avx512vnni" is
// "avx512"); null if it has no kernels for it.
const char* kernels_name(Isa isa, Precision precision);

// The widest supported one, or with `cap` (a name) the widest supported one not wider than that;
// -1 if `cap` names none. cap: may be null.
Isa best_isa(const char* cap);

}  // namespace planet::cpu
