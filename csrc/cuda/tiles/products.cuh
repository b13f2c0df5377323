// Weights times activations: the weights stream from the L2 cache into registers, the activations
// come from shared memory.
#pragma once

#include "../fragments.h"
#include "../intrinsics.cuh"
#include "../layout.h"

namespace planet::cuda {

// ---- precisions ----

// kLimit: the largest magnitude that an operand may have; see kExactBeyond. For bf16 it keeps sums
// clear of infinity: 1024 products with weights of at most 2^9.
struct Float16Products {
  using Element = Float16;
  static constexpr int kParts = 1;
  static constexpr float kScale = 1.0f, kLimit = 65504.0f;
};

struct Bfloat16Products {
  using Element = Bfloat16;
  static constexpr int kParts = 1;
  static constexpr float kScale = 1.0f, kLimit = 0x1p107f;
};

// float32 from fp16: every operand is a high and a low part, the product of the low parts is left
// out (Ootomo and Yokota, 2022).
struct Float32Products {
  using Element = Float16;
  static constexpr int kParts = 2;
  static constexpr float kScale = kActivationScale, kLimit = 65504.0f / kActivationScale;
};

// sums[8 outputs] += a b, for 16 rows and one tile of weights b [kParts]. The matrix units truncate
// when they add; so in float32 they add the three products of one step only, and ordinary additions
// do the rest.
template <class Products>
__device__ __forceinline__ void multiply_tile(float (&sums)[2][4],
                                              const uint32_t (&a)[Products::kParts][4],
                                              const uint4* b) {
  using Element = typename Products::Element;
  if constexpr (Products::kParts == 1) {
    multiply_accumulate<Element>(sums[0], a[0], b[0].x, b[0].y);
    multiply_accumulate<Element>(sums[1], a[0], b[0].z, b[0].w);
  } else {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t high0 = half ? b[0].z : b[0].x, high1 = half ? b[0].w : b[0].y;
      const uint32_t low0 = half ? b[1].z : b[1].x, low1 = half ? b[1].w : b[1].y;
      float step[4] = {};
      multiply_accumulate<Element>(step, a[1], high0, high1);
      multiply_accumulate<Element>(step, a[0], low0, low1);
      multiply_accumulate<Element>(step, a[0], high0, high1);
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[half][j] = __fadd_rn(sums[half][j], step[j]);
    }
  }
}

// ---- operands in shared memory ----

// A panel of 16-bit elements; the low parts, if there are any, lie `low` bytes further.
struct Panel {
  unsigned char* base;
  int low;
};

// Stores features k, k + 1 of a row; k is even.
template <class Products>
__device__ __forceinline__ void store_pair(const Panel& panel, int rows, int row, int k,
                                           float value0, float value1) {
  using Element = typename Products::Element;
  unsigned char* at = panel.base + activation_index(rows, row, k) * 2;
  const float scaled0 = value0 * Products::kScale, scaled1 = value1 * Products::kScale;
  const uint32_t high = pack2<Element>(scaled0, scaled1);
  *reinterpret_cast<uint32_t*>(at) = high;
  if constexpr (Products::kParts == 2) {
    float high0, high1;
    unpack2<Element>(high, high0, high1);
    *reinterpret_cast<uint32_t*>(at + panel.low) =
        pack2<Element>(__fsub_rn(scaled0, high0), __fsub_rn(scaled1, high1));
  }
}

// Stores feature k of a row.
template <class Products>
__device__ __forceinline__ void store_one(const Panel& panel, int rows, int row, int k,
                                          float value) {
  using Element = typename Products::Element;
  unsigned char* at = panel.base + activation_index(rows, row, k) * 2;
  const float scaled = value * Products::kScale;
  const uint32_t high = pack2<Element>(scaled, 0.0f);
  *reinterpret_cast<uint16_t*>(at) = static_cast<uint16_t>(high);
  if constexpr (Products::kParts == 2) {
    float high0, zero;
    unpack2<Element>(high, high0, zero);
    *reinterpret_cast<uint16_t*>(at + panel.low) =
        static_cast<uint16_t>(pack2<Element>(__fsub_rn(scaled, high0), 0.0f));
  }
}

// ---- weights ----

// Where a stream of tiles begins, in bytes from the start of the pack, and its tiles if they are
// few: the offset is a multiple of 256.
constexpr uint32_t kStreamTiles = 256;
static_assert(kSectionAlignment % kStreamTiles == 0 && kTileBytes % kStreamTiles == 0);

__device__ __forceinline__ uint32_t stream_entry(int offset, int tiles) {
  return static_cast<uint32_t>(offset) + (tiles < 255 ? static_cast<uint32_t>(tiles) : 255u);
}

// The weights that one warp needs, in the order in which it needs them: streams of consecutive
// tiles, step after step the same. The first kDepth tiles of the present stream are in registers or
// on their way; every tile that was used makes room for a later one, at the end for one of the next
// stream. So loads go on while sums are finished and other warps are waited for.
template <int kDepth>
class WeightStreams {
 public:
  // streams [count] in shared memory, each by stream_entry.
  __device__ WeightStreams(const unsigned char* packed, const uint32_t* streams, int count,
                           int lane)
      : packed_(packed + lane * sizeof(uint4)), streams_(streams), count_(count), position_(0) {
    here_ = begin(streams[0]);
#pragma unroll
    for (int i = 0; i < kDepth; ++i) tiles_[i] = load_streaming(here_ + i * kLanes);
  }

  // Runs body(fragments, tiles) for the steps of the present stream, kTiles tiles each, and moves
  // on to the next stream. Fragments come from `operand`: read(i) are those of step i from the
  // present one on, advance(n) moves on by n steps.
  template <int kTiles, class Operand, class Body>
  __device__ __forceinline__ void run(int steps, Operand operand, const Body& body) {
    static_assert(kDepth % kTiles == 0);
    constexpr int kSteps = kDepth / kTiles;
    constexpr int kAhead = Operand::kStepsAhead;
    static_assert(kSteps % (kAhead + 1) == 0);
    typename Operand::Fragments fragments[kAhead + 1];
    position_ = position_ + 1 == count_ ? 0 : position_ + 1;
    const uint32_t entry = streams_[position_];
    const int next_tiles = static_cast<int>(entry % kStreamTiles);
    const uint4* next = begin(entry);
    const uint4* ahead = here_ + kDepth * kLanes;
    int left = steps;
    if (kAhead > 0) operand.read(0, fragments[0]);
#pragma unroll 1
    for (; left >= 2 * kSteps; left -= kSteps, ahead += kDepth * kLanes) {
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        operand.read(i + kAhead, fragments[(i + kAhead) % (kAhead + 1)]);
        body(fragments[i % (kAhead + 1)], tiles_ + i * kTiles);
        load<kTiles>(i, ahead);
        __syncwarp();
      }
      operand.advance(kSteps);
    }
#pragma unroll 1
    for (bool first = left == steps; left > 0; left -= kSteps, first = false) {
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        if (i + kAhead < left) operand.read(i + kAhead, fragments[(i + kAhead) % (kAhead + 1)]);
        if (i < left) body(fragments[i % (kAhead + 1)], tiles_ + i * kTiles);
        // A stream of less than kSteps steps leaves registers that it never used.
        const bool same = i + kSteps < left, wanted = same || i * kTiles < next_tiles;
        if ((i < left || first) && wanted) load<kTiles>(i, same ? ahead : next);
        __syncwarp();
      }
      operand.advance(kSteps);
    }
    here_ = next;
  }

 private:
  static constexpr int kLanes = 32;

  __device__ __forceinline__ const uint4* begin(uint32_t entry) const {
    return reinterpret_cast<const uint4*>(packed_ + (entry - entry % kStreamTiles));
  }

  // Reads the tiles of step i of those that begin at `from`.
  template <int kTiles>
  __device__ __forceinline__ void load(int i, const uint4* from) {
#pragma unroll
    for (int j = i * kTiles; j < (i + 1) * kTiles; ++j) {
      tiles_[j] = load_streaming(from + j * kLanes);
    }
  }

  const unsigned char* packed_;
  const uint32_t* streams_;
  int count_, position_;
  const uint4* here_;
  uint4 tiles_[kDepth];
};

}  // namespace planet::cuda
