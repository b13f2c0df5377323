// How to plan and act: the settings that a weight file carries beside the weights, so that a
// program does as the run did that the weights come from.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <limits>
#include <string>
#include <vector>

#include "model.h"
#include "refit.h"

namespace planet {

// Defaults are the paper's (Hafner et al., ICML 2019) and those of CEMPlanner in Python.
struct PlannerSettings {
  int64_t horizon = 12;         // H, model steps
  int64_t candidates = 1000;    // J, action sequences per iteration
  int64_t topk = 100;           // K, elites
  int64_t iterations = 10;      // I
  float initial_stddev = 1.0f;  // of the first iteration's actions, in units of (high - low) / 2;
                                // their mean is the middle, (low + high) / 2
  float low = -1.0f;            // smallest action
  float high = 1.0f;            // largest action, low <= high
  std::vector<float> lows;      // [A], one per action; empty: low for all
  std::vector<float> highs;     // [A], likewise
  Spread spread = Spread::kPopulation;
  double epsilon = 1e-6;
  bool state_noise = true;  // sample the prior, otherwise follow its mean
  double discount = 1.0;
  Precision precision = Precision::kFloat32;
  double budget_ms = std::numeric_limits<double>::infinity();  // see PlanProblem

  // What follows is for programs that act; no plan depends on it.
  int64_t action_repeat = 0;        // environment steps per action; 0: not said
  float exploration_stddev = 0.3f;  // of the noise on actions where a program explores, in units
                                    // of (high - low) / 2; the run's for its next episode
  // Pixels per side of the camera's pictures in training; 0: not said. The run averaged them down
  // to frames: with k = render_size / image_size, each number of a frame is the mean of k x k
  // numbers of a picture, halves rounded up. With k = 1 the pictures are the frames.
  int64_t render_size = 0;
};

// Reads the text of a weight file: one JSON object, flat, such as
//
//   {"horizon": 12, "precision": "int8", "low": [-1.0, -0.5], "budget_ms": null}
//
// Values are numbers, strings, true, false, null or lists of numbers; strings and names are
// printable ASCII without quotes and backslashes. The names are those above, with "low" and "high"
// a number or a list, budget_ms a number or null, and spread and precision their names in Python.
// Other names are skipped; what is not named keeps its default. Safe for any bytes. Returns an
// empty string, or what is wrong ("settings.horizon: expected an integer, got a string"); then
// `settings` is unchanged. Ranges are checked where the settings are used.
std::string read_settings(const char* text, size_t size, PlannerSettings& settings);

}  // namespace planet
