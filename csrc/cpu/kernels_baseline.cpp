// Kernels that every machine of the architecture runs: SSE2 on x86-64, NEON on aarch64.
#define PLANET_KERNELS kernels_baseline
#define PLANET_LANES 4
#define PLANET_ROWS 4
#if defined(__aarch64__)
#define PLANET_ISA "neon"
#define PLANET_VECTORS 4
#else
#define PLANET_ISA "baseline"
#define PLANET_VECTORS 2
#endif
#include "kernels.inc"
