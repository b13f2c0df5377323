// Compiled for AVX2 (CMakeLists.txt); includes nothing from std, like csrc/cpu/kernels_avx2.cpp.
#include <stdint.h>

#include "matrix_unit_row.h"

namespace planet::cuda::emulator {

#define PLANET_COLUMNS 8
#define PLANET_ADD_ROW add_row_avx2
#include "matrix_unit_row.inc"

}  // namespace planet::cuda::emulator
