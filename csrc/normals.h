// Counter-based standard normals as a table; the planner itself draws them where it uses them.
#pragma once

#include <stdint.h>

#include "isa.h"

namespace planet::cpu {

// Which normals of a seed; see philox.h.
struct NormalsCounter {
  uint32_t stream, time, iteration, particle;
};

// out [candidates, dims], written: the normals of one seed, by the kernels of one instruction set.
void normals(Isa isa, int64_t seed, const NormalsCounter& counter, int64_t candidates, int dims,
             float* out);

}  // namespace planet::cpu
