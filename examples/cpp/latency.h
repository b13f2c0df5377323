// How long control steps take, in the words of `planet profile`.
#pragma once

#include <planet/timeline.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

// Milliseconds of the wall's clock, and of CPU time that all threads used meanwhile.
struct Times {
  std::vector<double> wall, cpu;

  void reserve(size_t steps) {
    wall.reserve(steps);
    cpu.reserve(steps);
  }
  void add(double wall_time, double cpu_time) {
    wall.push_back(wall_time);
    cpu.push_back(cpu_time);
  }
};

inline double milliseconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

// Values that a percentile's 95 % interval of order statistics takes: 6, 72 and 368.
inline size_t values_needed(double p) {
  return static_cast<size_t>(std::ceil(std::log(0.025) / std::log(p / 100)));
}

// The percentile, between two values where it falls between them (numpy.percentile); NaN where the
// values are too few to tell.
inline double percentile(std::vector<double> values, double p) {
  if (values.size() < values_needed(p)) return NAN;
  std::sort(values.begin(), values.end());
  const double at = p / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

// The times of every step, whole and by stage.
class Latency {
 public:
  // Of so many steps, with plans of at most so many iterations: nothing is allocated between them.
  Latency(size_t steps, size_t iterations)
      : spans_(planet::kStepSpans + planet::kIterationSpans * iterations) {
    for (Times* times : {&act_, &around_}) times->reserve(steps);
    for (Times& times : stages_) times.reserve(steps);
  }

  void begin() {
    timeline_ = {spans_.data(), static_cast<int64_t>(spans_.size()), 0};
    cpu_ = milliseconds(CLOCK_PROCESS_CPUTIME_ID);
    wall_ = milliseconds(CLOCK_MONOTONIC);
  }

  // Where the step marks its stages.
  planet::Timeline* timeline() { return &timeline_; }

  // Returns how many milliseconds the step took.
  double end() {
    const double wall = milliseconds(CLOCK_MONOTONIC) - wall_;
    const double cpu = milliseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_;
    double stages[kStages][2] = {}, inside[2] = {};
    for (int64_t i = 0; i < timeline_.count; ++i) {
      const planet::Span& span = spans_[static_cast<size_t>(i)];
      stages[span.stage][0] += 1e-6 * static_cast<double>(span.end - span.begin);
      stages[span.stage][1] += 1e-6 * static_cast<double>(span.cpu);
    }
    for (int i = 0; i < kStages; ++i) {
      stages_[i].add(stages[i][0], stages[i][1]);
      for (int k = 0; k < 2 && kNames[i][0] != ' '; ++k) inside[k] += stages[i][k];
    }
    act_.add(wall, cpu);
    around_.add(std::max(wall - inside[0], 0.0), std::max(cpu - inside[1], 0.0));
    return wall;
  }

  void print() const {
    std::printf("%-14s%10s%10s%10s%10s%10s%10s\n", "stage", "p50", "p95", "p99", "max", "CPU p50",
                "share");
    print("act", act_);
    for (int i = 0; i < kStages; ++i) print(kNames[i], stages_[i]);
    print("around", around_);
  }

 private:
  // In the order of planet::Stage; what is part of another one stands below it.
  static constexpr int kStages = 10;
  static constexpr const char* kNames[kStages] = {
      "filter", "  images",   "  encoder",   "  belief", "  posterior",
      "plan",   "  rollouts", "  selection", "  refit",  "explore"};

  static double sum(const std::vector<double>& values) {
    double total = 0;
    for (const double value : values) total += value;
    return total;
  }

  static void print_number(double value) {
    const int digits = 3 - (value >= 10) - (value >= 100) - (value >= 1000);
    if (std::isnan(value)) {
      std::printf("%10s", "-");
    } else {
      std::printf("%10.*f", digits, value);
    }
  }

  void print(const char* name, const Times& times) const {
    std::printf("%-14s", name);
    for (const double p : {50.0, 95.0, 99.0}) print_number(percentile(times.wall, p));
    print_number(*std::max_element(times.wall.begin(), times.wall.end()));
    print_number(percentile(times.cpu, 50));
    std::printf("%9.0f%%\n", 100 * sum(times.wall) / sum(act_.wall));
  }

  std::vector<planet::Span> spans_;
  planet::Timeline timeline_{};
  double wall_ = 0, cpu_ = 0;
  Times act_, around_, stages_[kStages];
};
