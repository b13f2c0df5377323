// Where plans start: cold, or from the plan before, in memory of its own or in the same.
#include "shift.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness.h"
#include "memory.h"
#include "random_model.h"

namespace planet::tests {
namespace {

using Values = std::vector<float>;

// Row b of [H, B, W] at time t.
Values row_of(const Values& all, int64_t batch, int64_t width, int64_t t, int64_t b) {
  const auto begin = all.begin() + (t * batch + b) * width;
  return Values(begin, begin + width);
}

// The starts of the rows of a batch: row b is moved on by steps[b], or cold where that is 0.
struct Case {
  int64_t horizon, keep;
  int size;
  Shift shift;
  std::vector<int64_t> steps;
};

void check(const Case& given, bool in_place, Random& random) {
  const Scope scope("H ", given.horizon, ", E ", given.keep, ", shift ",
                    static_cast<int>(given.shift), in_place ? ", in place" : "");
  const auto batch = static_cast<int64_t>(given.steps.size());
  const int64_t size = given.size, width = given.keep * size;
  const Values first = random.normals(batch * size), stddev = random.normals(batch * size);
  const Values past = random.normals(given.horizon * batch * size);
  const Values past_kept = random.normals(given.horizon * batch * width);
  Fenced<float> mean(given.horizon * batch * size), spread(given.horizon * batch * size);
  Fenced<float> kept(given.horizon * batch * width);
  if (in_place) {
    std::copy(past.begin(), past.end(), mean.data());
    std::copy(past_kept.begin(), past_kept.end(), kept.data());
  }
  PlanProblem plan{};
  plan.horizon = given.horizon;
  plan.batch = batch;
  plan.keep = given.keep;
  plan.mean = mean.data();
  plan.stddev = spread.data();
  plan.kept = given.keep == 0 ? nullptr : kept.data();
  const cpu::Start start{first.data(), stddev.data(), given.shift,
                         in_place ? mean.data() : past.data(),
                         in_place ? kept.data() : past_kept.data()};
  for (int64_t b = 0; b < batch; ++b) {
    if (given.steps[b] == 0) cpu::start_cold(plan, given.size, start, b);
    if (given.steps[b] > 0) cpu::start_warm(plan, given.size, start, given.steps[b], b);
  }
  const Values got = mean.values(), got_spread = spread.values(), got_kept = kept.values();
  for (int64_t t = 0; t < given.horizon; ++t) {
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t steps = given.steps[b], last = given.horizon - 1;
      const Values middle = row_of(first, 1, size, b, 0);
      const bool known = steps > 0 && steps <= last - t;
      const int64_t from = known ? t + steps : 0;
      Values expected = middle;
      if (known) expected = row_of(past, batch, size, from, b);
      if (!known && steps > 0 && given.shift == Shift::kRepeat) {
        expected = row_of(past, batch, size, last, b);
      }
      CHECK(row_of(got, batch, size, t, b) == expected);
      CHECK(row_of(got_spread, batch, size, t, b) == row_of(stddev, 1, size, b, 0));
      const Values sequences = row_of(got_kept, batch, width, t, b);
      if (known) CHECK(sequences == row_of(past_kept, batch, width, from, b));
      for (const float value : sequences) CHECK(known || std::isnan(value));
    }
  }
}

}  // namespace

TEST("rows start cold, or where the plan before goes on") {
  Random random(options().seed + 240);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const Shift shift : {Shift::kRepeat, Shift::kMiddle}) {
    for (const bool in_place : {false, true}) {
      check({4, 3, 2, shift, {1, 0, 2, 3, 4, 9, kMost, 0, 1}}, in_place, random);
      check({1, 2, 3, shift, {0, 1, 2}}, in_place, random);
      check({5, 0, 1, shift, {1, 0}}, in_place, random);
    }
  }
}

}  // namespace planet::tests
