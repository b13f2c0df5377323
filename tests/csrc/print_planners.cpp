// Lets tests/planning/test_cpp.py compare planners with Python's. Prints the settings by which the
// planners of a name search, one JSON object a line; with arguments (H, colour, numerics, by
// number) the bits of the matrix of coloured noise.
#include <string.h>

#include <cstdio>
#include <cstdlib>

#include "../../csrc/settings.h"

namespace {

using namespace planet;

void print(const PlannerSettings& s) {
  const char* const spreads[] = {"population", "mean_absolute"};
  const char* const numerics[] = {"unit", "icem"};
  const char* const outputs[] = {"mean", "best"};
  const char* const shifts[] = {"none", "repeat", "middle"};
  std::printf(
      "{\"planner\": \"%s\", \"horizon\": %lld, \"candidates\": %lld, \"iterations\": %lld, "
      "\"topk\": %lld, \"initial_stddev\": %.17g, \"spread\": \"%s\", \"epsilon\": %.17g, "
      "\"colour\": %.17g, \"numerics\": \"%s\", \"decay\": %.17g, \"keep\": %lld, "
      "\"momentum\": %.17g, \"temperature\": %.17g, \"output\": \"%s\", \"shift\": \"%s\"}\n",
      s.planner.c_str(), static_cast<long long>(s.horizon), static_cast<long long>(s.candidates),
      static_cast<long long>(s.iterations), static_cast<long long>(s.topk), s.initial_stddev,
      spreads[static_cast<int>(s.spread)], s.epsilon, s.colour,
      numerics[static_cast<int>(s.numerics)], s.decay, static_cast<long long>(s.keep), s.momentum,
      s.temperature, outputs[static_cast<int>(s.output)], shifts[static_cast<int>(s.shift)]);
}

}  // namespace

int main(int count, char** words) {
  if (count == 1) {
    for (const auto make : {cem_settings, icem_settings, mppi_settings, shooting_settings}) {
      print(make({}));
    }
    return 0;
  }
  const auto numerics = static_cast<Numerics>(std::atoi(words[3]));
  for (const float value : colour_mix(std::atoll(words[1]), std::atof(words[2]), numerics)) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    std::printf("%08x ", bits);
  }
}
