// AVX2 and FMA: 16 registers hold 4 features x 3 vectors and their operands.
#define PLANET_ISA "avx2"
#define PLANET_KERNELS kernels_avx2
#define PLANET_LANES 8
#define PLANET_ROWS 4
#define PLANET_VECTORS 3
#include "kernels.inc"
