#include "agent.h"

#include <algorithm>
#include <cmath>

#include "seeds.h"

namespace planet::cpu {
namespace {

// In the words of Python's reader.
std::string check_filter(const WeightView& weights) {
  if (weights.encoder.image_size > 0) return {};
  return "image_size: expected 1 to " + std::to_string(kMaxImageSize) +
         ", got 0: the file has no encoder; export the run again";
}

}  // namespace

std::unique_ptr<Agent> Agent::make(const WeightView& weights, const AgentOptions& options,
                                   std::string& error) {
  const Isa isa = best_isa(options.isa);
  error = check_filter(weights);
  if (error.empty()) error = check_options(options, weights.sizes, isa);
  if (!error.empty()) return nullptr;
  return make_or_explain(error,
                         [&] { return std::unique_ptr<Agent>(new Agent(weights, options, isa)); });
}

Agent::Agent(const WeightView& weights, const AgentOptions& options, Isa isa)
    : parts_(weights, options, isa),
      filter_{weights.sizes, weights.encoder, weights.min_stddev, isa, nullptr},
      exploration_stddev_(options.exploration_stddev) {
  parts_.take_memory(weights, options,
                     control_step_workspace(step(nullptr, false), options.threads));
  const ModelSizes& sizes = filter_.sizes;
  const EncoderSizes& encoder = filter_.encoder;
  filter_packed_.take(filter_packed_bytes(sizes, encoder, isa));
  pack_filter(sizes, encoder, weights.weights, weights.filter, isa, filter_packed_.data());
  filter_.packed = filter_packed_.data();

  const size_t batch = static_cast<size_t>(options.batch);
  for (auto* belief : {&belief_, &next_belief_}) belief->resize(batch * sizes.belief);
  for (auto* state : {&state_, &next_state_}) state->resize(batch * sizes.state);
  for (auto* action : {&executed_, &action_}) action->resize(batch * sizes.action);
  for (auto* numbers : {&episode_seeds_, &steps_}) numbers->resize(batch);
  past_mean_ = parts_.mean;
  past_kept_ = parts_.kept;
  finite_.resize(batch);
  reset(int64_t{0});
}

void Agent::reset(const int64_t* seeds) {
  for (int64_t row = 0; row < batch(); ++row) reset_row(row, seeds[row]);
}

void Agent::reset(int64_t seed) {
  for (int64_t row = 0; row < batch(); ++row) {
    reset_row(row, row_seed(seed, static_cast<uint32_t>(row)));
  }
}

void Agent::reset_row(int64_t row, int64_t seed) {
  const auto clear = [row](std::vector<float>& values, int64_t width) {
    std::fill_n(values.begin() + row * width, width, 0.0f);
  };
  clear(belief_, sizes().belief);
  clear(state_, sizes().state);
  clear(executed_, sizes().action);
  episode_seeds_[row] = mix_seed(seed, 0);
  steps_[row] = 0;
}

Step Agent::act(const uint8_t* frames, bool explore, Timeline* timeline) {
  const int64_t iterations = control_step(step(frames, explore), parts_.workspace.data(),
                                          parts_.pool.parallel(), timeline);
  const bool finite = std::find(finite_.begin(), finite_.end(), 0) == finite_.end();
  if (finite) {
    belief_.swap(next_belief_);
    state_.swap(next_state_);
    std::copy(action_.begin(), action_.end(), executed_.begin());
    std::copy(parts_.mean.begin(), parts_.mean.end(), past_mean_.begin());
    std::copy(parts_.kept.begin(), parts_.kept.end(), past_kept_.begin());
    for (int64_t& count : steps_) ++count;
  }
  return {action_.data(), finite, finite_.data(), parts_.best_return.data(), iterations};
}

bool Agent::executed(const float* action) {
  const float* end = action + executed_.size();
  if (!std::all_of(action, end, [](float x) { return std::isfinite(x); })) return false;
  std::copy(action, end, executed_.begin());
  return true;
}

ControlStep Agent::step(const uint8_t* frames, bool explore) {
  FilterStep filtered{};
  filtered.frames = frames;
  filtered.action = executed_.data();
  filtered.belief = belief_.data();
  filtered.state = state_.data();
  filtered.next_belief = next_belief_.data();
  filtered.next_state = next_state_.data();
  Start start = parts_.start();
  start.past_mean = past_mean_.data();
  start.past_kept = past_kept_.data();
  return {filter_,        parts_.model,  parts_.problem,
          filtered,       start,         episode_seeds_.data(),
          steps_.data(),  explore,       exploration_stddev_,
          action_.data(), finite_.data()};
}

}  // namespace planet::cpu
