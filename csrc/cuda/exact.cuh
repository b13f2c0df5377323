// The exact path of one block; exact.h says what it is for. A candidate's sums have one order,
// whichever candidates it shares the block with and however many warps there are.
#pragma once

#include "activations.cuh"
#include "exact.h"
#include "rollout_inputs.cuh"

namespace planet::cuda {

// Floats of the exact path's arrays, each [features][kExactCandidates].
struct ExactArrays {
  float *belief, *next_belief, *state, *action, *wide0;
  int wide_size;

  __device__ __forceinline__ ExactArrays(const ModelSizes& sizes, float* at) {
    int widest = sizes.hidden;
    for (int i = 0; i < sizes.reward_layers; ++i) widest = max(widest, sizes.reward_widths[i]);
    belief = at;
    next_belief = belief + sizes.belief * kExactCandidates;
    state = next_belief + sizes.belief * kExactCandidates;
    action = state + sizes.state * kExactCandidates;
    wide0 = action + sizes.action * kExactCandidates;
    wide_size = widest * kExactCandidates;
  }

  // Outputs of hidden layers, 0 or 1. (An array of pointers would live in local memory.)
  __device__ __forceinline__ float* wide(int i) const { return wide0 + i * wide_size; }
};

// kContinuation: whether models with continuation are served.
template <bool kContinuation = true>
class ExactRollout {
 public:
  // list [count] in shared memory outside `memory`: candidates of the problem.
  __device__ __forceinline__ ExactRollout(const RolloutJob& job, int64_t problem,
                                          const uint32_t* list, int count, float* memory)
      : job_(job),
        problem_(problem),
        list_(list),
        count_(count),
        arrays_(job.sizes, memory),
        lane_(static_cast<int>(threadIdx.x % 32)),
        warp_(static_cast<int>(threadIdx.x / 32)),
        warps_(static_cast<int>(blockDim.x / 32)) {}

  // Writes the returns. All threads of the block.
  __device__ __forceinline__ void run() {
    const RolloutArguments& arguments = job_.arguments;
    start();
    const bool goes_on = kContinuation && job_.layout.logit_row[0] > 0;
    float total = 0.0f, going = 1.0f;
    double weight = 1.0;
    for (int t = 0; t < arguments.horizon; ++t) {
      read_actions(t);
      __syncthreads();
      for (int layer = 0; layer < job_.layout.layers; ++layer) {
        if (layer == kGruLayer) {
          if (job_.sizes.belief > 0) belief();
        } else if (layer == kPriorLayer) {
          prior(t);
        } else {
          hidden(hidden_layer(layer));
        }
        __syncthreads();
      }
      total = fmaf(__fmul_rn(static_cast<float>(weight), going), of_last_layer(0), total);
      if (goes_on) going = __fmul_rn(going, sigmoid(of_last_layer(1)));
      weight *= arguments.discount;
      __syncthreads();
    }
    const int c = lane_ / 4;
    if (warp_ == 0 && lane_ % 4 == 0 && c < count_) {
      arguments.returns[problem_ * arguments.candidates + list_[c]] = total;
    }
  }

 private:
  using Sums = float[kExactCandidates];

  __device__ const float* floats(int at) const {
    return reinterpret_cast<const float*>(job_.packed + at);
  }

  // Slots beyond the list repeat its last candidate.
  __device__ int64_t candidate(int slot) const { return list_[min(slot, count_ - 1)]; }

  template <class Value>
  __device__ __forceinline__ void fill(float* out, int features, const Value& value) const {
    for (int i = static_cast<int>(threadIdx.x); i < features * kExactCandidates;
         i += static_cast<int>(blockDim.x)) {
      out[i] = value(i / kExactCandidates, candidate(i % kExactCandidates));
    }
  }

  __device__ __forceinline__ void start() const {
    const RolloutArguments& arguments = job_.arguments;
    const int d = job_.sizes.belief, s = job_.sizes.state;
    fill(arrays_.belief, d, [&](int feature, int64_t candidate) {
      return arguments.latent.belief[start_row(arguments, problem_, candidate) * d + feature];
    });
    fill(arrays_.state, s, [&](int feature, int64_t candidate) {
      return arguments.latent.state[start_row(arguments, problem_, candidate) * s + feature];
    });
  }

  __device__ __forceinline__ void read_actions(int t) const {
    const RolloutArguments& arguments = job_.arguments;
    const int a = job_.sizes.action;
    fill(arrays_.action, a, [&](int dim, int64_t candidate) {
      if (arguments.actions.values != nullptr) {
        return arguments.actions.values[step_index(arguments, t, problem_, candidate, a) + dim];
      }
      float quad[4];
      draw_action_quad(arguments, a, t, problem_, static_cast<uint32_t>(candidate >> 2), dim, quad);
      return of_quad(quad, candidate);
    });
  }

  // The standard normal of one state dimension; only with noise.
  __device__ __forceinline__ float noise(int t, int64_t candidate, int dim) const {
    const RolloutArguments& arguments = job_.arguments;
    if (arguments.noise.values != nullptr) {
      return arguments.noise
          .values[step_index(arguments, t, problem_, candidate, job_.sizes.state) + dim];
    }
    float quad[4];
    draw_noise_quad(arguments, t, problem_, static_cast<uint32_t>(candidate >> 2), dim, quad);
    return of_quad(quad, candidate);
  }

  // sums[c] += this lane's share of row . values[.][c]
  __device__ __forceinline__ void add_row(const float* row, const float* values, int inputs,
                                          Sums& sums) const {
    for (int k = lane_; k < inputs; k += 32) {
      const float w = row[k];
      const float4 low = *reinterpret_cast<const float4*>(values + k * kExactCandidates);
      const float4 high = *reinterpret_cast<const float4*>(values + k * kExactCandidates + 4);
      sums[0] = fmaf(w, low.x, sums[0]);
      sums[1] = fmaf(w, low.y, sums[1]);
      sums[2] = fmaf(w, low.z, sums[2]);
      sums[3] = fmaf(w, low.w, sums[3]);
      sums[4] = fmaf(w, high.x, sums[4]);
      sums[5] = fmaf(w, high.y, sums[5]);
      sums[6] = fmaf(w, high.z, sums[6]);
      sums[7] = fmaf(w, high.w, sums[7]);
    }
  }

  // The sum over all lanes of candidate lane / 4.
  __device__ __forceinline__ float reduce(const Sums& sums) const {
    float half[4], quarter[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) half[i] = exchange(sums[i], sums[i + 4], 16);
#pragma unroll
    for (int i = 0; i < 2; ++i) quarter[i] = exchange(half[i], half[i + 2], 8);
    float sum = exchange(quarter[0], quarter[1], 4);
    sum = __fadd_rn(sum, __shfl_xor_sync(kFullWarp, sum, 2));
    return __fadd_rn(sum, __shfl_xor_sync(kFullWarp, sum, 1));
  }

  // Lanes without this bit add up `low`, the others `high`.
  __device__ __forceinline__ float exchange(float low, float high, int bit) const {
    const bool upper = (lane_ & bit) != 0;
    const float other = __shfl_xor_sync(kFullWarp, upper ? low : high, bit);
    return __fadd_rn(upper ? high : low, other);
  }

  // out = act(W [a, b] + bias)
  struct Hidden {
    int weight, bias, outputs;
    const float *a, *b;
    int a_inputs, b_inputs;
    float* out;
  };

  __device__ __forceinline__ Hidden hidden_layer(int layer) const {
    const ModelSizes& sizes = job_.sizes;
    const ModelArrays& at = job_.layout.arrays;
    if (layer == kInputLayer) {
      return {at.input_weight, at.input_bias, sizes.hidden, arrays_.state,
              arrays_.action,  sizes.state,   sizes.action, arrays_.wide(0)};
    }
    if (layer == kPriorHiddenLayer) {
      return {at.prior_hidden_weight,
              at.prior_hidden_bias,
              sizes.hidden,
              sizes.belief > 0 ? arrays_.belief : arrays_.wide(0),
              nullptr,
              sizes.belief > 0 ? sizes.belief : sizes.hidden,
              0,
              arrays_.wide(1)};
    }
    const int i = layer - kRewardLayer;
    return {at.reward_weights[i],
            at.reward_biases[i],
            sizes.reward_widths[i],
            i == 0 ? arrays_.belief : arrays_.wide((i - 1) & 1),
            arrays_.state,
            i == 0 ? sizes.belief : sizes.reward_widths[i - 1],
            i == 0 ? sizes.state : 0,
            arrays_.wide(i & 1)};
  }

  __device__ __forceinline__ void hidden(const Hidden& layer) const {
    for (int n = warp_; n < layer.outputs; n += warps_) {
      const float* row = floats(layer.weight) + n * (layer.a_inputs + layer.b_inputs);
      Sums sums = {};
      add_row(row, layer.a, layer.a_inputs, sums);
      add_row(row + layer.a_inputs, layer.b, layer.b_inputs, sums);
      const float x = __fadd_rn(reduce(sums), floats(layer.bias)[n]);
      if (lane_ % 4 == 0) {
        layer.out[n * kExactCandidates + lane_ / 4] = job_.sizes.elu ? elu(x) : relu(x);
      }
    }
  }

  // The sum of gate `gate` of unit n over one operand.
  __device__ __forceinline__ float gate_sum(int weight, int gate, int n, const float* values,
                                            int inputs) const {
    Sums sums = {};
    add_row(floats(weight) + (gate * job_.sizes.belief + n) * inputs, values, inputs, sums);
    return reduce(sums);
  }

  __device__ __forceinline__ void belief() {
    const int d = job_.sizes.belief, m = job_.sizes.hidden;
    const ModelArrays& at = job_.layout.arrays;
    const float *x = arrays_.wide(0), *h = arrays_.belief;
    const float *bias_x = floats(at.gru_bias_ih), *bias_h = floats(at.gru_bias_hh);
    for (int n = warp_; n < d; n += warps_) {
      float of_x[3], of_h[3];
#pragma unroll
      for (int gate = 0; gate < 3; ++gate) {
        of_x[gate] = __fadd_rn(gate_sum(at.gru_weight_ih, gate, n, x, m), bias_x[gate * d + n]);
        of_h[gate] = __fadd_rn(gate_sum(at.gru_weight_hh, gate, n, h, d), bias_h[gate * d + n]);
      }
      const float r = sigmoid(__fadd_rn(of_x[0], of_h[0]));
      const float z = sigmoid(__fadd_rn(of_x[1], of_h[1]));
      const float candidate = tanh_of(fmaf(r, of_h[2], of_x[2]));
      const int i = n * kExactCandidates + lane_ / 4;
      if (lane_ % 4 == 0) {
        arrays_.next_belief[i] = fmaf(z, __fsub_rn(h[i], candidate), candidate);
      }
    }
    float* swap = arrays_.belief;
    arrays_.belief = arrays_.next_belief;
    arrays_.next_belief = swap;
  }

  __device__ __forceinline__ void prior(int t) const {
    const ModelSizes& sizes = job_.sizes;
    const ModelArrays& at = job_.layout.arrays;
    const int m = sizes.hidden, s = sizes.state;
    const StateNoise& source = job_.arguments.noise;
    const bool noisy = source.values != nullptr || source.seeds != nullptr;
    const float *weight = floats(at.prior_weight), *bias = floats(at.prior_bias);
    for (int j = warp_; j < s; j += warps_) {
      Sums mean_sums = {}, raw_sums = {};
      add_row(weight + j * m, arrays_.wide(1), m, mean_sums);
      add_row(weight + (s + j) * m, arrays_.wide(1), m, raw_sums);
      float value = __fadd_rn(reduce(mean_sums), bias[j]);
      const float raw = __fadd_rn(reduce(raw_sums), bias[s + j]);
      if (lane_ % 4 > 0) continue;
      if (noisy) {
        const float stddev = stddev_of(raw, job_.stddev_floor);
        value = fmaf(stddev, noise(t, candidate(lane_ / 4), j), value);
      }
      arrays_.state[j * kExactCandidates + lane_ / 4] = value;
    }
  }

  // The reward (row 0) or logit (row 1) of candidate lane / 4 from what the layers left, in every
  // warp.
  __device__ __forceinline__ float of_last_layer(int row_index) const {
    const ModelSizes& sizes = job_.sizes;
    const ModelArrays& at = job_.layout.arrays;
    const int last = sizes.reward_layers - 1;
    const float* first = last > 0 ? arrays_.wide((last - 1) & 1) : arrays_.belief;
    const int first_inputs = last > 0 ? sizes.reward_widths[last - 1] : sizes.belief;
    Sums sums = {};
    const int inputs = first_inputs + (last == 0 ? sizes.state : 0);
    const float* row = floats(at.reward_weights[last]) + row_index * inputs;
    add_row(row, first, first_inputs, sums);
    if (last == 0) add_row(row + first_inputs, arrays_.state, sizes.state, sums);
    return __fadd_rn(reduce(sums), floats(at.reward_biases[last])[row_index]);
  }

  const RolloutJob& job_;
  int64_t problem_;
  const uint32_t* list_;
  int count_;
  ExactArrays arrays_;
  int lane_, warp_, warps_;
};

}  // namespace planet::cuda
