// What a planner and an agent have in common: options, packed weights, memory, threads.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "cem.h"
#include "thread_pool.h"
#include "weight_file.h"

namespace planet::cpu {

// Settings, from a weight file or one by one, and what a program adds.
struct PlannerOptions : PlannerSettings {
  PlannerOptions() = default;
  explicit PlannerOptions(const PlannerSettings& settings) : PlannerSettings(settings) {}

  int64_t batch = 1;  // B, problems per plan
  int threads = 1;    // the calling one included; plans do not depend on it, bit for bit
  // Widest instruction set to use, needed by make() only; null: the best one (see best_isa).
  const char* isa = nullptr;
};

// Returns what is wrong with the options ("topk: expected 1 to 1000, got 2000"), or an empty
// string. isa: best_isa(options.isa).
std::string check_options(const PlannerOptions& options, const ModelSizes& sizes, Isa isa);

// Returns make(); where the system refuses memory or threads null, and `error` says so.
template <class Make>
auto make_or_explain(std::string& error, const Make& make) -> decltype(make()) {
  try {
    return make();
  } catch (const std::exception& failure) {
    error = std::string("memory and threads: the system refused them: ") + failure.what();
    return nullptr;
  }
}

// Memory aligned to 64 bytes.
class AlignedMemory {
 public:
  // Takes `bytes`, filled with zeros, so that their first use meets no page that is not there yet.
  // Throws std::bad_alloc, for a negative number as well.
  void take(int64_t bytes);
  void* data() { return lines_.data(); }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> lines_;
};

// The parts; `problem` leads into the others, all but latent and seeds.
struct PlannerParts {
  Model model;
  PlanProblem problem{};
  ThreadPool pool;
  AlignedMemory packed, workspace;
  Shift shift;
  std::vector<int64_t> counts;                             // [I], or empty: J each time
  std::vector<float> mix;                                  // [H, H], or empty: white noise
  std::vector<float> low, high, first_mean, first_stddev;  // [B, A]
  std::vector<float> mean, stddev;                         // [H, B, A]
  std::vector<float> kept;                                 // [H, B, E, A]
  std::vector<float> best_return;                          // [B]
  std::vector<float> action;                               // [B, A]

  // Starts the threads, and fills in the numbers of model and problem. The options are right.
  PlannerParts(const WeightView& weights, const PlannerOptions& options, Isa isa);
  PlannerParts(const PlannerParts&) = delete;
  PlannerParts& operator=(const PlannerParts&) = delete;

  // Takes all memory, the workspace first, which is by far the largest, and packs the weights.
  void take_memory(const WeightView& weights, const PlannerOptions& options,
                   int64_t workspace_bytes);

  // What plans start from; the plan before is the one in mean and kept.
  Start start() const;
};

}  // namespace planet::cpu
