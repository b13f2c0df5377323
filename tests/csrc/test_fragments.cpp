// Lane maps of csrc/cuda/fragments.h: against each other, against matrix units, banks and
// candidates.
#include <algorithm>
#include <set>
#include <vector>

#include "cuda/fragments.h"
#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"
#include "harness.h"
#include "memory.h"
#include "random_model.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;

constexpr int kRows = 16, kColumns = 8, kDepth = 16;

// Whether `seen` is each of 0 .. count-1 once.
bool each_once(std::vector<int> seen, int count) {
  std::sort(seen.begin(), seen.end());
  if (static_cast<int>(seen.size()) != count) return false;
  for (int i = 0; i < count; ++i) {
    if (seen[static_cast<size_t>(i)] != i) return false;
  }
  return true;
}

// Counts the 32-bit words at these byte addresses that fall on the bank most used.
int most_on_a_bank(const std::vector<int>& addresses) {
  std::set<int> words[32];
  for (const int address : addresses) words[address / 4 % 32].insert(address / 4);
  size_t most = 0;
  for (const std::set<int>& bank : words) most = std::max(most, bank.size());
  return static_cast<int>(most);
}

// The operands in registers, by the maps alone, from row-major a [16, 16] and b [16, 8].
template <class Type>
__global__ void multiply_kernel(const float* a, const float* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t left[4], right[2];
  for (int r = 0; r < 4; ++r) {
    const float* row = a + a_row(lane, r) * kDepth;
    left[r] = pack2<Type>(row[a_k(lane, r, 0)], row[a_k(lane, r, 1)]);
  }
  for (int r = 0; r < 2; ++r) {
    right[r] = pack2<Type>(b[b_k(lane, r, 0) * kColumns + b_column(lane)],
                           b[b_k(lane, r, 1) * kColumns + b_column(lane)]);
  }
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = d[sum_row(lane, i) * kColumns + sum_column(lane, i)];
  multiply_accumulate<Type>(sums, left, right[0], right[1]);
  for (int i = 0; i < 4; ++i) d[sum_row(lane, i) * kColumns + sum_column(lane, i)] = sums[i];
}

// Operand a of all rows and features of a panel that holds its own indices:
// out [rows / 16, depth / 16, 32 lanes, 4 registers].
__global__ void load_kernel(int rows, int depth, uint32_t* out) {
  uint16_t* panel = reinterpret_cast<uint16_t*>(shared_memory());
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < rows * depth; i += 32) panel[i] = static_cast<uint16_t>(i);
  __syncwarp();
  for (int row0 = 0; row0 < rows; row0 += 16) {
    for (int k0 = 0; k0 < depth; k0 += 16, out += 32 * 4) {
      uint32_t a[4];
      load_matrix_x4(a, panel + a_matrix_index(rows, row0, k0, lane));
      for (int r = 0; r < 4; ++r) out[lane * 4 + r] = a[r];
    }
  }
}

}  // namespace

TEST("fragments: every element of a, b and the sums lies in one place") {
  std::vector<int> sums, a, b;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      sums.push_back(sum_row(lane, i) * kColumns + sum_column(lane, i));
      for (int h = 0; h < 2; ++h) a.push_back(a_row(lane, i) * kDepth + a_k(lane, i, h));
    }
    for (int r = 0; r < 2; ++r) {
      for (int h = 0; h < 2; ++h) b.push_back(b_k(lane, r, h) * kColumns + b_column(lane));
    }
  }
  CHECK(each_once(sums, kRows * kColumns));
  CHECK(each_once(a, kRows * kDepth));
  CHECK(each_once(b, kDepth * kColumns));
}

TEST("fragments: a product through the maps is the plain product") {
  Random random(options().seed);
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<float> a(kRows * kDepth), b(kDepth * kColumns), d(kRows * kColumns), expected;
    for (float& x : a) x = static_cast<float>(random.integer(-60, 60));
    for (float& x : b) x = static_cast<float>(random.integer(-60, 60));
    for (float& x : d) x = static_cast<float>(random.integer(-9999, 9999));
    expected = d;
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        for (int k = 0; k < kDepth; ++k) {
          expected[static_cast<size_t>(row * kColumns + column)] +=
              a[static_cast<size_t>(row * kDepth + k)] *
              b[static_cast<size_t>(k * kColumns + column)];
        }
      }
    }
    std::vector<float> bfloat = d;
    const Launch warp{1, 32, 0, nullptr};
    CHECK(launch(warp, multiply_kernel<Float16>, a.data(), b.data(), d.data()) == nullptr);
    CHECK(launch(warp, multiply_kernel<Bfloat16>, a.data(), b.data(), bfloat.data()) == nullptr);
    CHECK(d == expected);
    CHECK(bfloat == expected);
  }
}

TEST("fragments: matrix loads give each lane its rows and features, without bank conflicts") {
  for (const int rows : {16, 32, 64, 128}) {
    const int depth = 48;
    const Scope scope("rows ", rows);
    std::vector<uint32_t> out(static_cast<size_t>(rows * depth / 2));
    const size_t bytes = static_cast<size_t>(rows * depth) * 2;
    CHECK(launch({1, 32, bytes, nullptr}, load_kernel, rows, depth, out.data()) == nullptr);
    CHECK_EQUAL(emulator::last_launch().load_matrix_conflicts, 0);
    const uint32_t* at = out.data();
    int wrong = 0;
    for (int row0 = 0; row0 < rows; row0 += 16) {
      for (int k0 = 0; k0 < depth; k0 += 16) {
        for (int lane = 0; lane < 32; ++lane) {
          for (int r = 0; r < 4; ++r, ++at) {
            for (int h = 0; h < 2; ++h) {
              const int expected =
                  activation_index(rows, row0 + a_row(lane, r), k0 + a_k(lane, r, h));
              wrong += static_cast<int>(*at >> (16 * h) & 0xFFFF) != expected;
            }
          }
        }
      }
    }
    CHECK_EQUAL(wrong, 0);
  }
}

TEST("fragments: panels hold each element once; matrix loads and stores of sums use all banks") {
  for (const int rows : {16, 32, 64, 128}) {
    const Scope scope("rows ", rows);
    std::vector<int> elements;
    for (int row = 0; row < rows; ++row) {
      for (int k = 0; k < 64; ++k) elements.push_back(activation_index(rows, row, k));
    }
    CHECK(each_once(elements, rows * 64));
    for (int row0 = 0; row0 < rows; row0 += 16) {
      for (int k0 = 0; k0 < 64; k0 += 8) {
        for (int matrix = 0; matrix < 4; ++matrix) {  // ldmatrix reads them one after another
          std::vector<int> words;
          for (int row = 0; row < 8; ++row) {
            const int byte = 2 * a_matrix_index(rows, row0, k0, matrix * 8 + row);
            CHECK_EQUAL(byte % 16, 0);
            for (int word = 0; word < 4; ++word) words.push_back(byte + 4 * word);
          }
          CHECK_EQUAL(most_on_a_bank(words), 1);
        }
        for (int i = 0; i < 4; i += 2) {  // the sums' neighbours i, i + 1 as one word
          std::vector<int> words;
          for (int lane = 0; lane < 32; ++lane) {
            const int row = row0 + sum_row(lane, i), k = k0 + sum_column(lane, i);
            CHECK_EQUAL(sum_column(lane, i + 1), sum_column(lane, i) + 1);
            CHECK_EQUAL(activation_index(rows, row, k + 1), activation_index(rows, row, k) + 1);
            words.push_back(2 * activation_index(rows, row, k));
            CHECK_EQUAL(words.back() % 4, 0);
          }
          CHECK_EQUAL(most_on_a_bank(words), 1);
        }
      }
    }
  }
}

TEST("fragments: a lane's 16 bytes of a weight tile are operand b of both halves of the outputs") {
  std::vector<int> elements;
  for (int n = 0; n < kTile; ++n) {
    for (int k = 0; k < kTile; ++k) elements.push_back(weight_index(n, k));
  }
  CHECK(each_once(elements, kTile * kTile));
  for (int lane = 0; lane < 32; ++lane) {
    for (int half = 0; half < 2; ++half) {
      for (int r = 0; r < 2; ++r) {
        for (int h = 0; h < 2; ++h) {
          CHECK_EQUAL(weight_index(8 * half + b_column(lane), b_k(lane, r, h)),
                      lane * 8 + half * 4 + r * 2 + h);
        }
      }
    }
  }
}

TEST("fragments: rows and candidates map to each other; a thread's rows are neighbours") {
  for (const int rows : {16, 32, 64, 96, 128}) {
    const Scope scope("rows ", rows);
    std::vector<int> candidates;
    for (int row = 0; row < rows; ++row) {
      candidates.push_back(candidate_of_row(rows, row));
      CHECK_EQUAL(row_of_candidate(rows, candidates.back()), row);
    }
    CHECK(each_once(candidates, rows));
    const int together = rows == 16 ? 2 : 4;  // rows lane / 4 + 0, 8, ... of a thread
    for (int first = 0; first < rows; first += 8 * together) {
      for (int lane = 0; lane < 32; ++lane) {
        const int candidate = candidate_of_row(rows, first + lane / 4);
        CHECK_EQUAL(candidate % together, 0);
        for (int i = 0; i < together; ++i) {
          const int row = first + i / 2 * 16 + sum_row(lane, i % 2 * 2);
          CHECK_EQUAL(candidate_of_row(rows, row), candidate + i);
        }
      }
    }
  }
}

}  // namespace planet::tests
