// The instruction sets that the CPU kernels are compiled for.
#pragma once

#include "precision.h"

namespace planet::cpu {

// Index of an instruction set; those behind it are wider. Packed weights belong to one of them.
using Isa = int;

// How many were compiled in; 0 is the baseline of the architecture.
int isa_count();

// "baseline", "avx2", "avx512", "avx512vnni" (which brings int8), "avx512bf16" and "amx" (which
// bring bf16) on x86-64; "neon" on aarch64. Builds for tests may have "amx-double" on x86-64: amx's
// bf16 in instructions that every processor has. 0 <= isa < isa_count().
const char* isa_name(Isa isa);

// Whether this processor and operating system run it. For amx this asks the operating system for
// the permission to use tiles, once in the life of a process, where nothing else speaks against it.
bool isa_supported(Isa isa);

// Null, or a reason why they do not, a string that lives for ever. It asks for nothing: null for
// amx before anybody asked means that nothing is known against it.
const char* isa_refusal(Isa isa);

// The set whose instructions compute that precision in this one (float32 of "avx512vnni" is
// "avx512"); null if it has no kernels for it.
const char* kernels_name(Isa isa, Precision precision);

// Whether the kernels of a precision are the set's own, not those of a narrower one.
bool has_own_kernels(Isa isa, Precision precision);

// The widest supported one, or with `cap` (a name) that one if it is supported, otherwise the
// widest supported one below it; -1 if `cap` names none. Of those that are not named, avx512bf16 is
// taken where it outruns float32 (on AMD's processors), and amx-double never. Asks for no
// permission that a set above the cap would need. cap: may be null.
Isa best_isa(const char* cap);

}  // namespace planet::cpu
