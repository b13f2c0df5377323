// The layers of the persistent kernel, for one warp and the 32 candidates of its cluster. A warp
// computes octets of outputs: sums[tile][octet] are rows 16 tile .. + 15 and the octet's columns,
// spread over the lanes as fragments.h says.
#pragma once

#include "../activations.cuh"
#include "../intrinsics.cuh"
#include "layout.h"

namespace planet::cuda::persistent {

// The weights of one octet of the GRU, for gates r, z, n: operand b of every step, in registers.
template <int Steps>
struct GruWeights {
  uint32_t input[Steps][3][2], belief[Steps][3][2];
};

// Their sums, for each tile of rows. r and z add up both operands, n keeps them apart.
struct GruSums {
  float r[2][4], z[2][4], n_input[2][4], n_belief[2][4];
};

using Sums = float[2][2][4];

__device__ __forceinline__ void clear(Sums& sums) {
#pragma unroll
  for (int i = 0; i < 16; ++i) sums[i / 8][i / 4 % 2][i % 4] = 0.0f;
}

// This lane's row of the matrices that load_matrix_x4 reads from a panel.
__device__ __forceinline__ const uint16_t* lane_of_panel(const unsigned char* panel, int lane) {
  return reinterpret_cast<const uint16_t*>(panel) + a_matrix_index(kClusterRows, 0, 0, lane);
}

constexpr int kStepElements = activation_index(kClusterRows, 0, kTile);  // to the next 16 features
constexpr int kTileElements = activation_index(kClusterRows, kTile, 0);  // to the next 16 rows

__device__ __forceinline__ void load_operand(uint32_t (&a)[2][4], const uint16_t* panel, int step) {
  load_matrix_x4(a[0], panel + step * kStepElements);
  load_matrix_x4(a[1], panel + step * kStepElements + kTileElements);
}

// sums += panel x weights of one step; weights of two octets, this lane's.
template <class Type>
__device__ __forceinline__ void multiply_step(Sums& sums, const uint16_t* panel, const uint2* first,
                                              const uint2* second, int step) {
  uint32_t a[2][4];
  load_operand(a, panel, step);
  const uint2 b0 = first[step * 32], b1 = second[step * 32];
#pragma unroll
  for (int tile = 0; tile < 2; ++tile) {
    multiply_accumulate<Type>(sums[tile][0], a[tile], b0.x, b0.y);
    multiply_accumulate<Type>(sums[tile][1], a[tile], b1.x, b1.y);
  }
}

template <class Type, int Steps>
__device__ __forceinline__ void multiply(Sums& sums, const uint16_t* panel, const uint2* first,
                                         const uint2* second) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    multiply_step<Type>(sums, panel, first, second, step);
  }
}

// multiply() for few steps, known at run time.
template <class Type>
__device__ __forceinline__ void multiply_few(Sums& sums, const uint16_t* panel, const uint2* first,
                                             const uint2* second, int steps) {
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    multiply_step<Type>(sums, panel, first, second, step);
  }
}

// r, z and one of the parts of n += panel x the weights in registers.
template <class Type, int Steps>
__device__ __forceinline__ void multiply_gates(float (&r)[2][4], float (&z)[2][4], float (&n)[2][4],
                                               const uint16_t* panel,
                                               const uint32_t (&weights)[Steps][3][2]) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    uint32_t a[2][4];
    load_operand(a, panel, step);
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
      multiply_accumulate<Type>(r[tile], a[tile], weights[step][0][0], weights[step][0][1]);
      multiply_accumulate<Type>(z[tile], a[tile], weights[step][1][0], weights[step][1][1]);
      multiply_accumulate<Type>(n[tile], a[tile], weights[step][2][0], weights[step][2][1]);
    }
  }
}

// Bits that are set where half of `pair` is beyond the range: infinite or NaN in fp16, from 2^107
// on in bf16 (Bfloat16Products::kLimit).
template <class Type>
__device__ __forceinline__ uint32_t beyond_range(uint32_t pair);

template <>
__device__ __forceinline__ uint32_t beyond_range<Float16>(uint32_t pair) {
  return ((pair & 0x7C007C00u) + 0x04000400u) & 0x80008000u;
}

template <>
__device__ __forceinline__ uint32_t beyond_range<Bfloat16>(uint32_t pair) {
  return ((pair & 0x7F807F80u) + 0x0B000B00u) & 0x80008000u;
}

// Rows of a lane's sums: tile and half of the tile.
__device__ __forceinline__ int row_of(int lane, int tile, int half) {
  return tile * kTile + half * 8 + lane / 4;
}

// Writes two neighbouring features of a row, and flags the row when they leave the range.
template <class Type>
__device__ __forceinline__ void store_pair(unsigned char* panel, int octet, int lane, int row,
                                           float low, float high, uint32_t* flags) {
  const uint32_t pair = pack2<Type>(low, high);
  const int column = octet * kOctet + 2 * (lane % 4);
  uint16_t* element =
      reinterpret_cast<uint16_t*>(panel) + activation_index(kClusterRows, row, column);
  *reinterpret_cast<uint32_t*>(element) = pair;
  if (const uint32_t bits = beyond_range<Type>(pair)) atomicMax(flags + row, bits);
}

// This lane's two columns of a vector [octet][8].
__device__ __forceinline__ float2 columns(const float* vector, int octet, int lane) {
  return *reinterpret_cast<const float2*>(vector + octet * kOctet + 2 * (lane % 4));
}

// Writes activation(sums[.][which] * unscale + bias) as features of `octet`.
template <class Type, bool kElu>
__device__ __forceinline__ void store_hidden(const Sums& sums, int which, float unscale,
                                             float2 bias, unsigned char* panel, int octet, int lane,
                                             uint32_t* flags) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* sum = sums[i / 2][which] + i % 2 * 2;
    store_pair<Type>(panel, octet, lane, row_of(lane, i / 2, i % 2),
                     activate<kElu>(fmaf(sum[0], unscale, bias.x)),
                     activate<kElu>(fmaf(sum[1], unscale, bias.y)), flags);
  }
}

// rewards[i] += the part of the last layer's row (`weights`) that these outputs make, for
// row_of(lane, i / 2, i % 2). Nothing is rounded to an operand.
template <bool kElu>
__device__ __forceinline__ void add_rewards(const Sums& sums, int which, float unscale, float2 bias,
                                            float2 weights, float (&rewards)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* sum = sums[i / 2][which] + i % 2 * 2;
    rewards[i] = fmaf(weights.x, activate<kElu>(fmaf(sum[0], unscale, bias.x)), rewards[i]);
    rewards[i] = fmaf(weights.y, activate<kElu>(fmaf(sum[1], unscale, bias.y)), rewards[i]);
  }
}

// h' of the lane's rows and columns: the float32 belief (of each tile, 32 apart) is advanced and
// written as an operand.
template <class Type>
__device__ __forceinline__ void advance_belief(const GruSums& sums, float unscale,
                                               const float* bias, float4* beliefs,
                                               unsigned char* panel, int octet, int lane,
                                               uint32_t* flags) {
  const float2 bias_r = columns(bias, 0, lane), bias_z = columns(bias, 1, lane);
  const float2 bias_x = columns(bias, 2, lane), bias_h = columns(bias, 3, lane);
  const float half = 0.5f * unscale;
  const float half_r[2] = {0.5f * bias_r.x, 0.5f * bias_r.y};
  const float half_z[2] = {0.5f * bias_z.x, 0.5f * bias_z.y};
#pragma unroll
  for (int tile = 0; tile < 2; ++tile) {
    const float4 before = beliefs[32 * tile];
    float belief[4] = {before.x, before.y, before.z, before.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool odd = i % 2;
      belief[i] = half_belief(
          fmaf(sums.r[tile][i], half, half_r[i % 2]), fmaf(sums.z[tile][i], half, half_z[i % 2]),
          fmaf(sums.n_input[tile][i], unscale, odd ? bias_x.y : bias_x.x),
          fmaf(sums.n_belief[tile][i], unscale, odd ? bias_h.y : bias_h.x), belief[i]);
    }
    beliefs[32 * tile] = make_float4(belief[0], belief[1], belief[2], belief[3]);
    store_pair<Type>(panel, octet, lane, row_of(lane, tile, 0), belief[0], belief[1], flags);
    store_pair<Type>(panel, octet, lane, row_of(lane, tile, 1), belief[2], belief[3], flags);
  }
}

}  // namespace planet::cuda::persistent
