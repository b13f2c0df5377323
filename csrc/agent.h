// An agent that owns what it needs: from camera frames to actions. It is a thin cover of
// control_step.h, which also serves foreign memory and threads.
//
//   act(frame 0) -> action 0 -> environment -> act(frame 1) -> action 1 -> ...
//
// An action is executed `action_repeat` times, a setting of the weight file, before the next frame.
// Between frames the agent keeps a latent, the action that led to the next frame, and the plan,
// which the next one goes on from where the settings say so. Randomness is counter-based: the same
// seed, frames and executed actions give the same actions. They are those of Python's Agent, bit
// for bit on one instruction set, for any number of threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control_step.h"
#include "planner_parts.h"

namespace planet::cpu {

// Those of its planner; exploration_stddev is among them.
using AgentOptions = PlannerOptions;

// A control step's outcome. The pointers lead into the agent's memory, until its next step.
struct Step {
  const float* action;         // [B, A], to execute, within the bounds
  bool finite;                 // in all rows; if not, the agent is as it was before the step
  const uint8_t* finite_rows;  // [B], 1 where latent, plan and action are finite
  const float* best_return;    // [B], largest return of the plan's last iteration
  int64_t iterations;          // of the plan that were run
};

// Acts in B environments at once. One call at a time: several threads need an agent each, or a
// lock. After make() nothing allocates or throws.
class Agent {
 public:
  // Packs the weights and takes all memory; `weights` (valid, as weight_file.h gives them) are not
  // needed afterwards. Begins episodes as reset(0) does. Returns null if it cannot, and says why in
  // `error` ("topk: expected 1 to 1000, got 2000").
  static std::unique_ptr<Agent> make(const WeightView& weights, const AgentOptions& options,
                                     std::string& error);

  // Begins episodes from a zero latent, and no plan. seeds [B]: one per row, as Python's
  // Agent.reset takes them.
  void reset(const int64_t* seeds);
  // With the seeds that Python derives from an integer: row_seed(seed, b).
  void reset(int64_t seed);
  // Begins an episode in one row, 0 <= row < B; the others go on.
  void reset_row(int64_t row, int64_t seed);

  // Filters the newest frames, plans, and explores if asked to: adds Normal noise to the planned
  // action, then clips.
  //
  // frames    [B, h, w, 3], row-major RGB of h = w = image_size().
  // timeline  where stages are marked, behind those already there, or null.
  // Both are needed during the call only.
  Step act(const uint8_t* frames, bool explore = false, Timeline* timeline = nullptr);

  // Says which actions [B, A] were really executed since the last act(), where that differs from
  // its outcome. Returns false, and changes nothing, if a value is not finite.
  bool executed(const float* action);

  const float* belief() const { return belief_.data(); }  // [B, D], after the newest frame
  const float* state() const { return state_.data(); }    // [B, S]
  const ModelSizes& sizes() const { return filter_.sizes; }
  int64_t batch() const { return parts_.problem.batch; }
  int image_size() const { return filter_.encoder.image_size; }
  // The instruction set in use.
  const char* isa() const { return isa_name(filter_.isa); }

 private:
  Agent(const WeightView& weights, const AgentOptions& options, Isa isa);

  ControlStep step(const uint8_t* frames, bool explore);

  PlannerParts parts_;
  FilterModel filter_;
  AlignedMemory filter_packed_;
  float exploration_stddev_;
  std::vector<float> belief_, next_belief_;   // [B, D]
  std::vector<float> state_, next_state_;     // [B, S]
  std::vector<float> executed_, action_;      // [B, A]
  std::vector<float> past_mean_, past_kept_;  // of the newest plan that was finite
  std::vector<int64_t> episode_seeds_, steps_;
  std::vector<uint8_t> finite_;
};

}  // namespace planet::cpu
