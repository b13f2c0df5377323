// AMX: products of bf16 on tiles, everything else by AVX-512 with BF16.
#define PLANET_ISA "amx"
#define PLANET_KERNELS kernels_amx
#define PLANET_LANES 16
#define PLANET_ROWS 16
#define PLANET_VECTORS 2
#define PLANET_TILES
#include "kernels.inc"
