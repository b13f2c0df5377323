// The kernels of AMX but for the tile instructions, of which they have the double: compiled with
// the same flags their bits are the same.
#define PLANET_ISA "amx's twin"
#define PLANET_KERNELS kernels_tile_twin
#define PLANET_LANES 16
#define PLANET_ROWS 16
#define PLANET_VECTORS 2
#define PLANET_TILES
#define PLANET_TILE_DOUBLE
#include "cpu/kernels.inc"
