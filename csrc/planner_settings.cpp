// What the planners of Python search by where nothing else is said.
#include <utility>

#include "settings.h"

namespace planet {
namespace {

// The settings of `rest`, but for how it searches.
PlannerSettings searching(const char* planner, SearchSettings search, PlannerSettings rest) {
  rest.planner = planner;
  search.horizon = rest.horizon;
  static_cast<SearchSettings&>(rest) = search;
  return rest;
}

}  // namespace

PlannerSettings cem_settings(PlannerSettings rest) {
  return searching("cem", SearchSettings(), std::move(rest));
}

PlannerSettings icem_settings(PlannerSettings rest) {
  SearchSettings icem;
  icem.candidates = 46;  // 46 + 36 + 29 candidates and 3 x 3 kept ones are 120
  icem.iterations = 3;
  icem.topk = 10;
  icem.initial_stddev = 0.5f;
  icem.colour = 0.25;
  icem.decay = 1.25;
  icem.keep = 3;
  icem.momentum = 0.1;
  icem.output = Output::kBest;
  icem.shift = Shift::kRepeat;
  return searching("icem", icem, std::move(rest));
}

PlannerSettings mppi_settings(PlannerSettings rest) {
  SearchSettings mppi;
  mppi.candidates = 512;
  mppi.iterations = 6;
  mppi.topk = 64;
  mppi.temperature = 0.5;
  mppi.shift = Shift::kMiddle;
  return searching("mppi", mppi, std::move(rest));
}

PlannerSettings shooting_settings(PlannerSettings rest) {
  SearchSettings shooting;
  shooting.iterations = 1;
  shooting.topk = 1;  // whose mean is the best
  return searching("shooting", shooting, std::move(rest));
}

}  // namespace planet
