// The stages of a block of candidates besides layers: start, actions and noise, returns.
#pragma once

#include "../activations.cuh"
#include "block.cuh"

namespace planet::cuda {

// Clears the shared memory: padding must be finite. Ends with a barrier.
template <class Block>
__device__ void clear_memory(const Block& b) {
  uint4* memory = b.template at<uint4>(0);
  for (int i = b.thread(); i < b.shared.streams / 16; i += b.threads()) memory[i] = uint4{};
  __syncthreads();
}

// Lists the warp's streams of one step in the order in which the layers use them, and starts them.
template <class Block>
__device__ typename Block::Weights start_weights(const Block& b) {
  uint32_t* list = b.template at<uint32_t>(b.shared.streams) + b.warp * b.shared.streams_per_warp;
  int count = 0;
  const auto add = [&](int offset, int tiles) {
    if (b.lane == 0) list[count] = stream_entry(offset, tiles);
    ++count;
  };
  for (int i = 0; i < b.job.layout.layers; ++i) {
    const LayerLayout& layer = b.job.layout.layer[i];
    const int step_tiles = layer.gates * Block::kParts;
    const int first = layer.steps[0] * step_tiles, second = layer.steps[1] * step_tiles;
    for (int block = b.warp; block < layer.blocks; block += b.shape.warps) {
      const int offset = layer.tiles + block * (first + second) * kTileBytes;
      if (i == kInputLayer) {
        add(offset, first + second);  // its operands are one stream
        continue;
      }
      if (first > 0) add(offset, first);
      if (second > 0) add(offset + first * kTileBytes, second);
    }
  }
  __syncwarp();
  return typename Block::Weights(b.job.packed, list, count, b.lane);
}

template <class Block>
__device__ void start_latent(const Block& b) {
  const RolloutArguments& arguments = b.job.arguments;
  const int d = b.job.sizes.belief, s = b.job.sizes.state;
  for (int i = b.thread(); i < Block::kRows * d; i += b.threads()) {
    const int row = i / d, unit = i % d;
    const int64_t from = start_row(arguments, b.problem(), b.candidate(row)) * d;
    const float value = arguments.latent.belief[from + unit];
    b.store_operand(b.shared.belief[0], row, unit, value);
    *b.belief_exact(row, unit) = value;
  }
  for (int i = b.thread(); i < Block::kRows * s; i += b.threads()) {
    const int row = i / s, j = i % s;
    const int64_t from = start_row(arguments, b.problem(), b.candidate(row)) * s;
    b.store_operand(b.shared.state, row, j, arguments.latent.state[from + j]);
  }
}

// actions as they are given
template <class Block>
__device__ void copy_actions(const Block& b, int t) {
  const RolloutArguments& arguments = b.job.arguments;
  const int a = b.job.sizes.action;
  for (int i = b.thread_from_last(); i < Block::kRows * a; i += b.threads()) {
    const int row = i / a, dim = i % a;
    const int64_t from = step_index(arguments, t, b.problem(), b.candidate(row), a);
    b.store_operand(b.shared.action, row, dim, arguments.actions.values[from + dim]);
  }
}

// Runs body(dim, quad of the problem, rows' index of its first candidate) for all of `dims`
// dimensions and all quads of candidates.
template <class Block, class Body>
__device__ void for_each_quad(const Block& b, int dims, const Body& body) {
  constexpr int kQuads = Block::kRows / 4;
  for (int i = b.thread_from_last(); i < kQuads * dims; i += b.threads()) {
    body(i / kQuads, static_cast<uint32_t>(b.first() / 4 + i % kQuads), i % kQuads * 4);
  }
}

template <class Block>
__device__ void draw_actions(const Block& b, int t) {
  const int a = b.job.sizes.action;
  for_each_quad(b, a, [&](int dim, uint32_t quad, int local) {
    float values[4];
    draw_action_quad(b.job.arguments, a, t, b.problem(), quad, dim, values);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      b.store_operand(b.shared.action, row_of_candidate(Block::kRows, local + i), dim, values[i]);
    }
  });
}

template <class Block>
__device__ void copy_noise(const Block& b, int t, float* noise) {
  const RolloutArguments& arguments = b.job.arguments;
  const int s = b.job.sizes.state;
  for (int i = b.thread_from_last(); i < Block::kRows * s; i += b.threads()) {
    const int row = i / s, j = i % s;
    const int64_t from = step_index(arguments, t, b.problem(), b.candidate(row), s);
    noise[j * b.shared.noise_stride + row] = arguments.noise.values[from + j];
  }
}

template <class Block>
__device__ void draw_noise(const Block& b, int t, float* noise) {
  for_each_quad(b, b.job.sizes.state, [&](int j, uint32_t quad, int local) {
    float values[4];
    draw_noise_quad(b.job.arguments, t, b.problem(), quad, j, values);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      noise[j * b.shared.noise_stride + row_of_candidate(Block::kRows, local + i)] = values[i];
    }
  });
}

// Actions and noise of step t.
template <class Block>
__device__ void read_inputs(const Block& b, int t) {
  const RolloutArguments& arguments = b.job.arguments;
  float* noise = b.template at<float>(b.shared.noise[t & 1]);
  if (arguments.actions.values != nullptr) {
    copy_actions(b, t);
  } else {
    draw_actions(b, t);
  }
  if (arguments.noise.values != nullptr) {
    copy_noise(b, t, noise);
  } else if (arguments.noise.seeds != nullptr) {
    draw_noise(b, t, noise);
  }
}

// The reward (0) or logit (1) of a row, whose terms the layers have left.
template <class Block>
__device__ float sum_terms(const Block& b, int index, int row) {
  const int groups = b.shape.reward_groups;
  const float* partial = b.template at<float>(b.shared.partial) + index * groups * Block::kRows;
  const ModelArrays& arrays = b.job.layout.arrays;
  float sum = b.floats(arrays.reward_biases[b.job.sizes.reward_layers - 1])[index];
  for (int i = 0; i < groups; ++i) sum = __fadd_rn(sum, partial[i * Block::kRows + row]);
  return sum;
}

// Adds the reward, times `weight` and what is left of going on, to the returns of step t.
template <class Block>
__device__ void add_reward(const Block& b, float weight, int t) {
  const bool goes_on = b.job.layout.logit_row[0] > 0;
#pragma unroll 1  // a thread has one row or two, and the sigmoid takes code
  for (int row = b.thread_from_last(); row < Block::kRows; row += b.threads()) {
    float& total = b.template at<float>(b.shared.total)[row];
    const float reward = sum_terms(b, 0, row);
    if (!goes_on) {
      total = fmaf(weight, reward, total);
      continue;
    }
    float& going = b.template at<float>(b.shared.going)[row];
    const float before = t == 0 ? 1.0f : going;
    total = fmaf(__fmul_rn(weight, before), reward, total);
    going = __fmul_rn(before, sigmoid(sum_terms(b, 1, row)));
  }
}

// Writes the returns; a flagged row's is NaN.
template <class Block>
__device__ void write_returns(const Block& b) {
  const int64_t candidates = b.job.arguments.candidates;
  const uint32_t* flags = b.template at<uint32_t>(b.shared.flags);
  // A row's return comes from the thread that added it up, its flag from behind a barrier.
  for (int row = b.thread_from_last(); row < Block::kRows; row += b.threads()) {
    const int64_t j = b.first() + candidate_of_row(Block::kRows, row);
    if (j >= candidates) continue;
    b.job.arguments.returns[b.problem() * candidates + j] =
        flags[row] == 0 ? b.template at<float>(b.shared.total)[row] : NAN;
  }
}

// Lists the candidates that are flagged: [1 + rows], their number first. Ends with a barrier.
template <class Block>
__device__ const uint32_t* list_flagged(const Block& b) {
  const int64_t candidates = b.job.arguments.candidates;
  const uint32_t* flags = b.template at<uint32_t>(b.shared.flags);
  uint32_t* list = b.template at<uint32_t>(b.shared.flagged);
  if (b.thread() == 0) {
    uint32_t count = 0;
    for (int row = 0; row < Block::kRows; ++row) {
      const int64_t j = b.first() + candidate_of_row(Block::kRows, row);
      if (j < candidates && flags[row] != 0) list[++count] = static_cast<uint32_t>(j);
    }
    list[0] = count;
  }
  __syncthreads();
  return list;
}

}  // namespace planet::cuda
