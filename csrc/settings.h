// How to plan and act: the settings that a weight file carries beside the weights, so that a
// program does as the run did that the weights come from.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <limits>
#include <string>
#include <vector>

#include "cem.h"
#include "colour.h"
#include "model.h"
#include "shift.h"

namespace planet {

// How a planner searches; SearchSettings in Python. Defaults are those of the plain cross-entropy
// method in the paper (Hafner et al., ICML 2019); PlanProblem in cem.h says what the loop does.
struct SearchSettings {
  int64_t horizon = 12;         // H, model steps
  int64_t candidates = 1000;    // J, action sequences of the first iteration
  int64_t iterations = 10;      // I
  int64_t topk = 100;           // K, elites
  float initial_stddev = 1.0f;  // of the first iteration's actions, in units of (high - low) / 2;
                                // their mean is the middle, (low + high) / 2
  Spread spread = Spread::kPopulation;
  double epsilon = 1e-6;
  double colour = 0.0;  // normals have the power spectrum 1/f^colour along time; 0: white
  Numerics numerics = Numerics::kUnit;  // of coloured ones
  double decay = 1.0;        // iteration i draws floor(J * decay^-i) candidates, never below 2 K
  int64_t keep = 0;          // E, best sequences that the next iteration and plan score again
  double momentum = 0.0;     // share of the distribution before that a refit leaves
  double temperature = 0.0;  // of the elites' weights, in units of return; 0: all weigh alike
  Output output = Output::kMean;
  Shift shift = Shift::kNone;  // how the plan before starts the next one
};

// What else a plan needs to be said.
struct PlannerSettings : SearchSettings {
  std::string planner = "cem";  // what Python calls it; no plan depends on it
  float low = -1.0f;            // smallest action
  float high = 1.0f;            // largest action, low <= high
  std::vector<float> lows;      // [A], one per action; empty: low for all
  std::vector<float> highs;     // [A], likewise
  bool state_noise = true;      // sample the prior, otherwise follow its mean
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

// Searches as Python's planners of these names do where nothing else is said: the cross-entropy
// method; iCEM (Pinneri et al., CoRL 2020), 120 rollouts where CEM takes 10,000; model-predictive
// path integrals with the elites of TD-MPC2; random shooting. The horizon and all else are those of
// `rest`, such as a weight file's settings.
PlannerSettings cem_settings(PlannerSettings rest = {});
PlannerSettings icem_settings(PlannerSettings rest = {});
PlannerSettings mppi_settings(PlannerSettings rest = {});
PlannerSettings shooting_settings(PlannerSettings rest = {});

// Reads the text of a weight file: one JSON object, flat, such as
//
//   {"planner": "icem", "horizon": 12, "keep": 3, "low": [-1.0, -0.5], "budget_ms": null}
//
// Values are numbers, strings, true, false, null or lists of numbers; strings and names are
// printable ASCII without quotes and backslashes. The names are those above, with "low" and "high"
// a number or a list, budget_ms and temperature a number or null (none), and choices in Python's
// words, such as "repeat". Other names are skipped; what is not named keeps its default. Safe for
// any bytes. Returns an empty string, or what is wrong ("settings.horizon: expected an integer, got
// a string"); then `settings` is unchanged. Ranges are checked where the settings are used.
std::string read_settings(const char* text, size_t size, PlannerSettings& settings);

}  // namespace planet
