#include "timeline.h"

#include <time.h>

namespace planet {
namespace {

int64_t now(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return int64_t{1000000000} * time.tv_sec + time.tv_nsec;
}

}  // namespace

StageMark::StageMark(Timeline* timeline, Stage stage, int64_t iteration)
    : timeline_(timeline), span_{static_cast<int64_t>(stage), iteration, 0, 0, 0} {
  if (timeline_ == nullptr) return;
  span_.cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  span_.begin = now(CLOCK_MONOTONIC);
}

StageMark::~StageMark() {
  if (timeline_ == nullptr) return;
  span_.end = now(CLOCK_MONOTONIC);
  span_.cpu = now(CLOCK_PROCESS_CPUTIME_ID) - span_.cpu;
  if (timeline_->count < timeline_->capacity) timeline_->spans[timeline_->count] = span_;
  ++timeline_->count;
}

}  // namespace planet
