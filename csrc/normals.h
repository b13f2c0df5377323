// Counter-based normals as tables; the planner itself draws them where it uses them.
#pragma once

#include <stdint.h>

#include "isa.h"

namespace planet {

// Which numbers of a seed; see philox.h.
struct NormalsCounter {
  uint32_t stream, time, iteration, particle;
};

namespace cpu {

// out [candidates, dims], written: the normals of one seed, by the kernels of one instruction set.
void normals(Isa isa, int64_t seed, const NormalsCounter& counter, int64_t candidates, int dims,
             float* out);

}  // namespace cpu

namespace cuda {

// out [B, candidates, dims], written: standard normals of every seed. seeds: [B]. candidates <=
// 2^32, dims <= 65536. On the current device: pointers are device pointers and needed until the
// work is done; stream is a cudaStream_t. Only enqueues. Returns null, or what went wrong (a string
// that lives for ever).
const char* normals(const int64_t* seeds, int64_t batch, const NormalsCounter& counter,
                    int64_t candidates, int64_t dims, float* out, void* stream);

}  // namespace cuda
}  // namespace planet
