// The kernels of AMX for every machine: vectors by the compiler, tiles by their double. For tests.
#define PLANET_ISA "amx-double"
#define PLANET_KERNELS kernels_amx_double
#define PLANET_LANES 16
#define PLANET_ROWS 16
#define PLANET_VECTORS 2
#define PLANET_TILES
#define PLANET_TILE_DOUBLE
#include "kernels.inc"
