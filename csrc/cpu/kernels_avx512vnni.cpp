// AVX-512 with VNNI, int8 products: the tile of AVX-512, four products per lane and instruction.
#define PLANET_ISA "avx512vnni"
#define PLANET_KERNELS kernels_avx512vnni
#define PLANET_LANES 16
#define PLANET_ROWS 5
#define PLANET_VECTORS 4
#define PLANET_INT8
#include "kernels.inc"
