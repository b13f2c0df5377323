// Filters chunks of observations from the zero latent (RSSM.filter_chunk), and differentiates that.
//
//   x = act(W_in [s, a] + b_in)                         p = act(share + W_p h')
//   r, z = sigmoid(W_i x + b_i + W_h h + b_h)           mean, raw = W_s p + b_s
//   n = tanh(W_in x + b_in + r (W_hn h + b_hn))         stddev = softplus(raw) + min_stddev
//   h' = n + z (h - n)                                  s' = mean + stddev * noise
// `share` is what the embeddings add to the posterior's hidden layer, its bias included.
#pragma once

#include <stdint.h>

#include "isa.h"
#include "parallel.h"

namespace planet {

// Every size is 1 or more; the products of two of them fit into 62 bits.
struct FilterSizes {
  int64_t steps, batch;                   // T, B
  int64_t belief, state, action, hidden;  // D, S, A, M
  bool elu;                               // activation: ELU (alpha 1), otherwise ReLU
};

// The parameters, or their gradients. Row-major, contiguous.
template <class T>
struct FilterParameters {
  T* input_weight;             // [M, S+A], state first
  T* input_bias;               // [M]
  T* gru_weight_ih;            // [3D, M], gates r, z, n
  T* gru_weight_hh;            // [3D, D]
  T* gru_bias_ih;              // [3D]
  T* gru_bias_hh;              // [3D]
  T* posterior_hidden_weight;  // [M, D], the columns of the belief
  T* posterior_weight;         // [2S, M], mean rows, then raw stddev rows
  T* posterior_bias;           // [2S]
};

// What comes of a chunk, or the loss's gradients with respect to it. Row-major, contiguous.
template <class T>
struct FilterOutputs {
  T* belief;  // [T, B, D]
  T* state;   // [T, B, S]
  T* mean;    // [T, B, S], of the posterior
  T* stddev;  // [T, B, S]
};

namespace cpu {

// Floats of `kept`, the activations that the backward pass reads, for one instruction set.
int64_t filter_kept(Isa isa, const FilterSizes& sizes);

// Floats of workspace for filter_chunk; it is the same for any number of workers.
int64_t filter_workspace(Isa isa, const FilterSizes& sizes);

// Filters B chunks. Rows of the batch are independent of each other, bit for bit.
//
// isa        supported by this machine.
// share      [T, B, M]; action [T, B, A]; noise [T, B, S]: contiguous, read only.
// out        all written.
// kept       filter_kept(...) floats, written.
// workspace  filter_workspace(...) floats, contents undefined before and after.
// Nothing overlaps what is written. All pointers are needed during the call only. Allocates
// nothing, throws nothing.
void filter_chunk(Isa isa, const FilterSizes& sizes, float min_stddev,
                  const FilterParameters<const float>& parameters, const float* share,
                  const float* action, const float* noise, const FilterOutputs<float>& out,
                  float* kept, float* workspace, const Parallel& parallel);

// Floats of workspace for filter_chunk_backward with at most `workers` workers.
int64_t filter_backward_workspace(Isa isa, const FilterSizes& sizes, int workers);

// Differentiates filter_chunk.
//
// noise, parameters  as given to filter_chunk, and the `kept` that it wrote, for the same
//                    instruction set: read only.
// upstream           the loss's gradients with respect to the outputs; each may be null: zeros.
// share              [T, B, M], written: the gradient of `share`.
// gradients          all written: those of the parameters.
// workspace          filter_backward_workspace(...) floats, contents undefined before and after.
// Otherwise as filter_chunk; results do not depend on the number of workers.
void filter_chunk_backward(Isa isa, const FilterSizes& sizes,
                           const FilterParameters<const float>& parameters, const float* noise,
                           const float* kept, const FilterOutputs<const float>& upstream,
                           float* share, const FilterParameters<float>& gradients, float* workspace,
                           const Parallel& parallel);

}  // namespace cpu
}  // namespace planet
