// AVX-512 (F, DQ, VL, BW): 32 registers hold 5 features x 4 vectors and their operands.
#define PLANET_ISA "avx512"
#define PLANET_KERNELS kernels_avx512
#define PLANET_LANES 16
#define PLANET_ROWS 5
#define PLANET_VECTORS 4
#include "kernels.inc"
