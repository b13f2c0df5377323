// How the blocks of a cluster share a model, and what lies where in the shared memory of a block.
// C++17, host and device.
//
// A cluster plans with 32 candidates at a time. The outputs of a wide layer (belief, prior's hidden
// layer, reward's hidden layers) go by octets, 8 consecutive ones: block `rank` of the cluster
// computes the octets of share_of(octets, rank) and sends them to the other three. The input layer
// and the prior's outputs are narrow in one direction, so every block computes all of them, which
// costs less than an exchange.
#pragma once

#include "../layout.h"

namespace planet::cuda {

constexpr int kClusterBlocks = 4;
constexpr int kClusterRows = 32;  // candidates, two tiles of m16n8k16
constexpr int kPersistentWarps = 8;
constexpr int kPairWarps = 4;  // that compute pairs of octets: of the prior, and as many of rewards
constexpr int kPersistentThreads = 32 * kPersistentWarps;
constexpr int kOctet = 8;
constexpr int kOctetStepBytes = kTileBytes / 2;              // weights of 8 outputs x 16 inputs
constexpr int kOctetPanelBytes = kClusterRows * kOctet * 2;  // activations of an octet
constexpr int kOctetsOfBlock = 7;  // at most: the GRU's weights of one fill a warp's registers
constexpr int kPersistentRewardLayers = 3;  // two hidden ones
constexpr int kStateLimit = 32;             // four warps compute 16 of the prior's outputs each

struct OctetShare {
  int first, count;
};

PLANET_HOST_DEVICE constexpr OctetShare share_of(int octets, int rank) {
  const int base = octets / kClusterBlocks, more = octets % kClusterBlocks;
  return {rank * base + (rank < more ? rank : more), base + (rank < more ? 1 : 0)};
}

// Barriers in shared memory. Rewards have two in turn: a block may be a step ahead of another's.
enum PersistentBarrier : int {
  kBeliefBarrier = 0,
  kPriorBarrier = 1,
  kRewardBarriers = 2,
  kReturnsBarrier = 4,
  kPersistentBarriers = 5,
};

// A block's message to the others of a rollout: the part of each row's return that its outputs
// make, and which rows left the operands' range.
struct RolloutShare {
  float returns[kClusterRows];
  uint32_t flags[kClusterRows];
};

// Offsets in bytes. Weights are [octet][step][lane] of 8 bytes (operand b of m16n8k16), vectors
// float32, panels as in fragments.h.
struct PersistentLayout {
  int octets;        // of every wide layer
  int state_steps;   // of 16 inputs
  int action_steps;  // likewise
  int prior_octets;  // of the prior's outputs, an even number

  int unscale;     // as in PackedHeader
  int shares;      // RolloutShare of each block
  int beliefs;     // [octet of this block][tile][lane]: float4, h of the lane's sums, not rounded
  int noise;       // [warp][octet of its pair][lane]: float4, normals of four candidates
  int returns;     // [warp][lane]: float4, the parts of the returns of the lane's rows
  int flags;       // [row]: a bit pattern other than 0 when flagged
  int gru_bias;    // [octet of this block][r, z, n of x, n of h][8]
  int input_bias;  // [octet][8]
  int prior_hidden_bias;  // [octet of this block][8]
  int prior_bias;         // [octet][8]
  int reward_bias[2];     // [octet of this block][8]
  int reward_row;         // likewise: the last layer's weights

  int input_weights;
  int prior_hidden_weights;
  int prior_weights;
  int reward_weights[2];

  int panels;                // from here to the end, what a rollout leaves may be overwritten
  int input, prior;          // panels of x and p
  int belief[2], reward[2];  // panels of h and of the reward's first layer, in turn
  int state, action;         // one panel: operands s and a
  int bytes;
};

constexpr int kBarrierBytes = 64;
constexpr int kPersistentAlignment = 128;

// steps: of 16 features, of the wide layers' panels.
constexpr PersistentLayout persistent_layout(const ModelSizes& sizes, int steps,
                                             int scratch_bytes) {
  PersistentLayout out{};
  out.octets = (sizes.belief + kOctet - 1) / kOctet;
  out.state_steps = padded16(sizes.state) / kTile;
  out.action_steps = padded16(sizes.action) / kTile;
  out.prior_octets = padded16(2 * sizes.state) / kOctet;
  const int own = (out.octets + kClusterBlocks - 1) / kClusterBlocks;
  int at = kBarrierBytes;
  const auto take = [&at](int bytes) {
    at = (at + kPersistentAlignment - 1) / kPersistentAlignment * kPersistentAlignment;
    const int here = at;
    at += bytes;
    return here;
  };
  const auto vector = [&take](int octets) { return take(octets * kOctet * 4); };
  out.unscale = take(kMaxLayers * 4);
  out.shares = take(kClusterBlocks * static_cast<int>(sizeof(RolloutShare)));
  out.beliefs = take(own * 2 * 32 * 16);
  out.noise = take(kPairWarps * 2 * 32 * 16);
  out.returns = take(kPairWarps * 32 * 16);
  out.flags = take(kClusterRows * 4);
  out.gru_bias = vector(4 * own);
  out.input_bias = vector(out.octets);
  out.prior_hidden_bias = vector(own);
  out.prior_bias = vector(out.prior_octets);
  out.reward_bias[0] = vector(own);
  out.reward_bias[1] = vector(own);
  out.reward_row = vector(own);

  const int input_steps = out.state_steps + out.action_steps;
  out.input_weights = take(out.octets * input_steps * kOctetStepBytes);
  out.prior_hidden_weights = take(own * steps * kOctetStepBytes);
  out.prior_weights = take(out.prior_octets * steps * kOctetStepBytes);
  out.reward_weights[0] = take(own * (steps + out.state_steps) * kOctetStepBytes);
  out.reward_weights[1] = take(own * steps * kOctetStepBytes);

  const int panel = 2 * steps * kOctetPanelBytes;
  out.panels = out.input = take(panel);
  out.prior = take(panel);
  out.belief[0] = take(panel);
  out.belief[1] = take(panel);
  out.reward[0] = take(panel);
  out.reward[1] = take(panel);
  out.state = take(2 * input_steps * kOctetPanelBytes);
  out.action = out.state + 2 * out.state_steps * kOctetPanelBytes;
  const int scratch_end = out.panels + scratch_bytes;
  out.bytes = at > scratch_end ? at : scratch_end;
  return out;
}

}  // namespace planet::cuda
