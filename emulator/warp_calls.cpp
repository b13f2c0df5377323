// Calls that a warp's lanes compute together.
#include <bit>

#include "machine.h"
#include "matrix_unit.h"
#include "warp_calls.h"

namespace planet::cuda::emulator {
namespace {

// In memory a register's two halves follow each other, as k does: rows of a and columns of b are
// put together from whole registers (fragments.h, whose maps the tests compare with this).
template <MatrixType type>
void multiply_lanes(Warp& warp, uint32_t) {
  uint32_t a[16 * 8], b[8 * 8];
  float d[16 * 8];
  for (int lane = 0; lane < 32; ++lane) {
    const Multiply& part = *static_cast<const Multiply*>(warp.data[lane]);
    const int group = lane >> 2, place = lane & 3;
    const int row = group * 8 + place;  // of 8 words
    a[row] = part.a[0];
    a[row + 64] = part.a[1];
    a[row + 4] = part.a[2];
    a[row + 68] = part.a[3];
    b[row] = part.b[0];
    b[row + 4] = part.b[1];
    __builtin_memcpy(d + group * 8 + 2 * place, part.d, 8);
    __builtin_memcpy(d + (group + 8) * 8 + 2 * place, part.d + 2, 8);
  }
  multiply_accumulate(type, d, a, b, device().products_at_once, device().extra_bits);
  for (int lane = 0; lane < 32; ++lane) {
    const Multiply& part = *static_cast<const Multiply*>(warp.data[lane]);
    const int group = lane >> 2, place = lane & 3;
    __builtin_memcpy(part.d, d + group * 8 + 2 * place, 8);
    __builtin_memcpy(part.d + 2, d + (group + 8) * 8 + 2 * place, 8);
  }
  ++machine.counters.multiply_accumulates;
}

// Passes over the 32 banks beyond the first that reading 8 rows of 16 bytes takes.
int bank_conflicts(const unsigned char* const* rows) {
  int uses[8] = {}, passes = 1;  // groups of 4 banks
  for (int i = 0; i < 8; ++i) {
    bool again = false;
    for (int j = 0; j < i; ++j) again = again || rows[j] == rows[i];
    const int use = again ? 0 : ++uses[reinterpret_cast<uintptr_t>(rows[i]) / 16 % 8];
    passes = use > passes ? use : passes;
  }
  return passes - 1;
}

void load_matrices(Warp& warp, uint32_t) {
  const unsigned char* rows[32];
  for (int i = 0; i < 32; ++i) rows[i] = static_cast<const MatrixRow*>(warp.data[i])->row;
  for (int matrix = 0; matrix < 4; ++matrix) {
    for (int lane = 0; lane < 32; ++lane) {
      uint32_t* out = static_cast<const MatrixRow*>(warp.data[lane])->out;
      __builtin_memcpy(&out[matrix], rows[matrix * 8 + lane / 4] + lane % 4 * 4, 4);
    }
    machine.counters.load_matrix_conflicts += bank_conflicts(rows + matrix * 8);
  }
}

void shuffle_lanes(Warp& warp, uint32_t mask) {
  uint64_t values[32];
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    values[lane] = static_cast<const Shuffle*>(warp.data[lane])->value;
  }
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    Shuffle& part = *static_cast<Shuffle*>(warp.data[std::countr_zero(rest)]);
    part.valid = mask >> part.source & 1;
    if (part.valid) part.value = values[part.source];
  }
}

void vote_lanes(Warp& warp, uint32_t mask) {
  uint32_t ballot = 0;
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    if (static_cast<const Vote*>(warp.data[lane])->predicate) ballot |= 1u << lane;
  }
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    static_cast<Vote*>(warp.data[std::countr_zero(rest)])->ballot = ballot;
  }
}

}  // namespace

void multiply_half(Multiply& part, Where where) {
  meet("multiply_accumulate<Float16>", where, 0xFFFFFFFFu, true, multiply_lanes<MatrixType::kHalf>,
       &part);
}

void multiply_bfloat(Multiply& part, Where where) {
  meet("multiply_accumulate<Bfloat16>", where, 0xFFFFFFFFu, true,
       multiply_lanes<MatrixType::kBfloat>, &part);
}

void load_matrix(MatrixRow& part, Where where) {
  check_shared("load_matrix_x4", where, part.row, 16, 16);
  note_read(part.row, 16, where);
  meet("load_matrix_x4", where, 0xFFFFFFFFu, true, load_matrices, &part);
}

uint64_t shuffle(const char* call, uint32_t mask, uint64_t value, int source, Where where) {
  Shuffle part{value, source, false};
  meet(call, where, mask, false, shuffle_lanes, &part);
  if (!part.valid) {
    fail(call, where, "reads lane " + std::to_string(source) + ", which is not in the mask");
  }
  return part.value;
}

uint32_t vote(const char* call, uint32_t mask, bool predicate, Where where) {
  Vote part{predicate, 0};
  meet(call, where, mask, false, vote_lanes, &part);
  return part.ballot;
}

int current_lane() {
  return current->lane;
}

}  // namespace planet::cuda::emulator
