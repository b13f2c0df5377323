// When the stages of a control step begin and end, for profiles.
#pragma once

#include <stdint.h>

namespace planet {

// In the order of planet/acting/timeline.py's STAGES.
enum class Stage : int64_t {
  kFilter,     // all of the four that follow
  kImages,     // frames to network inputs
  kEncoder,    // and the embedding's share of the posterior's hidden layer
  kBelief,     //
  kPosterior,  // and the sample
  kPlan,       // all iterations
  kRollouts,   // draws and scores the candidates of an iteration
  kSelection,  // ranks them
  kRefit,      // fits mean and stddev to the best
  kExplore,    // adds noise, clips, looks for what is not finite
};

// Times are nanoseconds of CLOCK_MONOTONIC.
struct Span {
  int64_t stage;      // a Stage
  int64_t iteration;  // of a plan, -1 elsewhere
  int64_t begin, end;
  int64_t cpu;  // nanoseconds of CPU time that all threads of the process used meanwhile
};

// A control step has so many spans, and for each iteration of its plan so many more.
constexpr int64_t kStepSpans = 7, kIterationSpans = 3;

// Spans in the order in which they end. Those that do not fit are counted, not kept.
struct Timeline {
  Span* spans;
  int64_t capacity;
  int64_t count;
};

// Marks a stage from its construction to its destruction; does nothing without a timeline.
class StageMark {
 public:
  StageMark(Timeline* timeline, Stage stage, int64_t iteration = -1);
  ~StageMark();
  StageMark(const StageMark&) = delete;
  StageMark& operator=(const StageMark&) = delete;

 private:
  Timeline* timeline_;
  Span span_;
};

}  // namespace planet
