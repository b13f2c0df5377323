// AVX-512 with BF16: the tile of AVX-512, two products per lane and instruction.
#define PLANET_ISA "avx512bf16"
#define PLANET_KERNELS kernels_avx512bf16
#define PLANET_LANES 16
#define PLANET_ROWS 5
#define PLANET_VECTORS 4
#define PLANET_PAIRS
#include "kernels.inc"
