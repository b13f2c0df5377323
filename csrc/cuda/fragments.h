// Where matrix elements live: in lanes and registers, in shared memory, in packed weights; and
// which candidate sits in which row. C++17, host and device: the kernels and the tests of the maps
// compile the same functions.
//
// Candidates are rows (M of the matrix units' m16n8k16), features are columns.
#pragma once

#include <stdint.h>

#include "../philox.h"

namespace planet::cuda {

constexpr int kTile = 16;  // weights are packed in tiles of 16 outputs x 16 inputs

PLANET_HOST_DEVICE constexpr int padded16(int size) {
  return (size + 15) / 16 * 16;
}

// ---- fragments of m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16") ----

// Element i (0..3) of the sums: row and column.
PLANET_HOST_DEVICE constexpr int sum_row(int lane, int i) {
  return lane / 4 + 8 * (i / 2);
}
PLANET_HOST_DEVICE constexpr int sum_column(int lane, int i) {
  return 2 * (lane % 4) + i % 2;
}

// Half h (0, 1) of register r (0..3) of operand a: row, and k.
PLANET_HOST_DEVICE constexpr int a_row(int lane, int r) {
  return lane / 4 + 8 * (r % 2);
}
PLANET_HOST_DEVICE constexpr int a_k(int lane, int r, int h) {
  return 2 * (lane % 4) + h + 8 * (r / 2);
}

// Half h of register r (0, 1) of operand b: k, and column.
PLANET_HOST_DEVICE constexpr int b_k(int lane, int r, int h) {
  return 2 * (lane % 4) + h + 8 * r;
}
PLANET_HOST_DEVICE constexpr int b_column(int lane) {
  return lane / 4;
}

// ---- activations in shared memory ----
// [k / 8][row][k % 8] of 16-bit elements: each 8x8 matrix is 128 consecutive bytes, so that
// load_matrix_x4 and the stores of the sums meet no bank conflicts without padding.

// Index in elements of feature k of `row`, in a panel of `rows` rows.
PLANET_HOST_DEVICE constexpr int activation_index(int rows, int row, int k) {
  return (k / 8 * rows + row) * 8 + k % 8;
}

// Index in elements of the 16-byte row that `lane` gives to load_matrix_x4, for operand a of rows
// [row0, row0 + 16) and features [k0, k0 + 16).
PLANET_HOST_DEVICE constexpr int a_matrix_index(int rows, int row0, int k0, int lane) {
  return activation_index(rows, row0 + lane % 16, k0 + lane / 16 * 8);
}

// ---- packed weights ----
// A tile of 16 outputs x 16 inputs is 512 consecutive bytes: 16 per lane, registers 0 and 1 of
// operand b for outputs 0..7, then those for outputs 8..15.

// Index in elements within a tile of the weight from input k to output n, both 0..15.
PLANET_HOST_DEVICE constexpr int weight_index(int n, int k) {
  const int lane = n % 8 * 4 + k % 8 / 2;
  return lane * 8 + n / 8 * 4 + k / 8 * 2 + k % 2;
}

// ---- candidates ----
// A thread's rows (lane / 4 + 0, 8, 16, 24 of 32 rows) are four consecutive candidates, which
// share one block of Philox words; in 16 rows they are two.

// Candidate of `row` within a block of 16, 32 or a multiple of 32 rows.
PLANET_HOST_DEVICE constexpr int candidate_of_row(int rows, int row) {
  return rows == 16 ? row % 8 * 2 + row / 8 : row / 32 * 32 + row % 8 * 4 + row % 32 / 8;
}

PLANET_HOST_DEVICE constexpr int row_of_candidate(int rows, int candidate) {
  return rows == 16 ? candidate % 2 * 8 + candidate / 2
                    : candidate / 32 * 32 + candidate % 4 * 8 + candidate % 32 / 4;
}

}  // namespace planet::cuda
