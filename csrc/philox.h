// Counter-based random words: Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011). C++17, host and device.
//
// For a problem's seed, candidate c, dimension, stream, time t, iteration and particle:
//   key     = low and high word of the seed
//   counter = (c >> 2, dimension | stream << 16, t | iteration << 16, particle)
// and words w0..w3 serve candidates 4q..4q+3 (q = c >> 2). Box and Muller (1958): with
// u(w) = ((w >> 8) + 0.5) * 2^-24, (w0, w1) give radius sqrt(-2 ln u(w0)) and angle 2 pi u(w1);
// the cosine serves candidate 4q, the sine 4q+1; (w2, w3) likewise serve 4q+2 and 4q+3.
//
// Everything here is `static`: a file compiled for one instruction set must not lend its copy to
// another (see cpu/panel.h).
#pragma once

#include <stdint.h>

#ifdef __CUDACC__
#define PLANET_HOST_DEVICE __host__ __device__
#else
#define PLANET_HOST_DEVICE
#endif

namespace planet {

enum Stream : uint32_t {
  kStreamActions = 0,
  kStreamState = 1,
  kStreamExploration = 2,
  kStreamPosterior = 3,
  kStreamDither = 4,
};

// high, low = the two halves of a * b.
PLANET_HOST_DEVICE static inline void multiply_wide(uint32_t a, uint32_t b, uint32_t& high,
                                                    uint32_t& low) {
  const uint64_t product = static_cast<uint64_t>(a) * b;
  high = static_cast<uint32_t>(product >> 32);
  low = static_cast<uint32_t>(product);
}

// Rounds [first, last) of ten on `counter`, in place. Word is uint32_t, or a vector of them for
// which multiply_wide(Word, uint32_t, Word&, Word&) was declared before this header was included.
template <class Word>
PLANET_HOST_DEVICE static inline void philox_rounds(Word (&counter)[4], uint32_t key0,
                                                    uint32_t key1, int first, int last) {
  key0 += static_cast<uint32_t>(first) * 0x9E3779B9u;
  key1 += static_cast<uint32_t>(first) * 0xBB67AE85u;
  for (int round = first; round < last; ++round) {
    Word high0, low0, high1, low1;
    multiply_wide(counter[0], 0xD2511F53u, high0, low0);
    multiply_wide(counter[2], 0xCD9E8D57u, high1, low1);
    counter[0] = high1 ^ counter[1] ^ key0;
    counter[1] = low1;
    counter[2] = high0 ^ counter[3] ^ key1;
    counter[3] = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

template <class Word>
PLANET_HOST_DEVICE static inline void philox4x32(Word (&counter)[4], uint32_t key0, uint32_t key1) {
  philox_rounds(counter, key0, key1, 0, 10);
}

// u(w), exact: 25 bits are more than a float holds.
PLANET_HOST_DEVICE static inline double uniform(uint32_t word) {
  return ((word >> 8) + 0.5) * 0x1p-24;
}

}  // namespace planet
