#define PLANET_LANES 16
#define RATIONAL rational_avx512
#include "rational.inc"
