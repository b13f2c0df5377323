// Calls that all lanes of a warp make together: what each lane brings and takes.
#pragma once

#include <stdint.h>

#include <source_location>

namespace planet::cuda::emulator {

using Where = std::source_location;

struct Multiply {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};
void multiply_half(Multiply& part, Where where);
void multiply_bfloat(Multiply& part, Where where);

struct MatrixRow {
  const unsigned char* row;
  uint32_t* out;
};
void load_matrix(MatrixRow& part, Where where);

struct Shuffle {
  uint64_t value;
  int source;
  bool valid;
};
// The value of lane `source`.
uint64_t shuffle(const char* call, uint32_t mask, uint64_t value, int source, Where where);

struct Vote {
  bool predicate;
  uint32_t ballot;
};
uint32_t vote(const char* call, uint32_t mask, bool predicate, Where where);

int current_lane();

}  // namespace planet::cuda::emulator
