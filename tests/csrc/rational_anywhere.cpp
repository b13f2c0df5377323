#define PLANET_LANES 16
#define RATIONAL rational_anywhere
#include "rational.inc"
