// Whole control steps, called as a stranger would and made once more of their parts.
#pragma once

#include <stdint.h>

#include <vector>

#include "calls.h"
#include "control_step.h"
#include "random_filter.h"

namespace planet::tests {

// A random model and its filter.
struct RandomAgent {
  RandomModel model;
  RandomFilter filter;

  RandomAgent(const FilterShape& shape, Random& random)
      : model(shape.model, random), filter(shape, random) {}
};

// The inputs of one control_step. Mean and stddev of the plan are the first distribution's, the
// same at every time; its seeds, its latent and its kept sequences are not used.
struct Stepping {
  Plan plan;
  Filtering filtering;
  std::vector<int64_t> episode_seeds, steps;
  Shift shift = Shift::kNone;
  std::vector<float> past_mean, past_kept;
  bool explore = false;
  float exploration_stddev = 0.3f;

  Stepping(const RandomAgent& agent, int64_t batch, Random& random);
  // Makes the plan one of all that the loop has, which goes on from a random one.
  void go_on(Shift how, const ModelSizes& sizes, Random& random);
  // Row b alone.
  Stepping row(const ModelSizes& sizes, int64_t b) const;
};

struct Stepped {
  PlanResult plan;
  Filtered filtered;
  std::vector<float> action;
  std::vector<uint8_t> finite;

  bool operator==(const Stepped& other) const;  // bit for bit
};

Stepped run_step(const RandomAgent& agent, Kernels kernels, const Stepping& inputs,
                 const Parallel& parallel, Timeline* timeline = nullptr);

// The same of filter_step and cem_plan; the noise in double precision.
Stepped step_of_parts(const RandomAgent& agent, Kernels kernels, const Stepping& inputs);

}  // namespace planet::tests
