// Tables of normals by the kernels of one instruction set.
#include "../normals.h"

#include <algorithm>

#include "panel.h"

namespace planet::cpu {

void normals(Isa isa, int64_t seed, const NormalsCounter& counter, int64_t candidates, int dims,
             float* out) {
  const KernelSet& kernels = kernel_set(isa, Precision::kFloat32);
  float table[(kMaxSize + 4) * 16];  // lanes are at most 16
  for (int64_t first = 0; first < candidates; first += kernels.lanes) {
    kernels.normals(seed, counter, first, dims, table);
    const int64_t count = std::min<int64_t>(kernels.lanes, candidates - first);
    for (int64_t c = 0; c < count; ++c) {
      for (int d = 0; d < dims; ++d) out[(first + c) * dims + d] = table[d * kernels.lanes + c];
    }
  }
}

}  // namespace planet::cpu
