// Command lines of the examples: "--name value" pairs and flags, behind the weight file's name.
#pragma once

#include <errno.h>
#include <planet/planner_parts.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

[[noreturn]] inline void fail(const std::string& message) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, message.c_str());
  std::exit(1);
}

// Where the values of options go; a bool is a flag, which has none.
using Options = std::map<std::string, std::variant<int64_t*, int*, double*, bool*, std::string*,
                                                   const char**, planet::Precision*>>;

inline void read_value(const std::string& name, const char* text, int64_t& out) {
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), out);
  if (error != std::errc() || *end != '\0') fail(name + ": expected an integer, got " + text);
}

inline void read_value(const std::string& name, const char* text, int& out) {
  int64_t wide = 0;
  read_value(name, text, wide);
  out = static_cast<int>(std::clamp<int64_t>(wide, INT_MIN, INT_MAX));
}

inline void read_value(const std::string& name, const char* text, double& out) {
  char* end = nullptr;
  out = std::strtod(text, &end);
  if (end == text || *end != '\0') fail(name + ": expected a number, got " + text);
}

inline void read_value(const std::string& name, const char* text, planet::Precision& out) {
  using planet::Precision;
  for (const Precision one : {Precision::kFloat32, Precision::kInt8, Precision::kBfloat16}) {
    if (std::strcmp(text, planet::precision_name(one)) == 0) {
      out = one;
      return;
    }
  }
  fail(name + ": expected fp32, int8 or bf16, got " + text);
}

inline void read_value(const std::string&, const char* text, std::string& out) {
  out = text;
}

inline void read_value(const std::string&, const char* text, const char*& out) {
  out = text;
}

inline void read_options(int argc, char** argv, const Options& options) {
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    const auto found = options.find(name);
    if (found == options.end()) fail(name + ": no such option");
    if (bool* const* flag = std::get_if<bool*>(&found->second)) {
      **flag = true;
      continue;
    }
    if (++i == argc) fail(name + ": expected a value");
    const auto read = [&](auto* out) {
      if constexpr (!std::is_same_v<decltype(out), bool*>) read_value(name, argv[i], *out);
    };
    std::visit(read, found->second);
  }
}

// The settings of a planner's name, wherever it stands: before the options that change them.
inline void choose_planner(int argc, char** argv, planet::PlannerSettings& out) {
  using Make = planet::PlannerSettings (*)(planet::PlannerSettings);
  const std::map<std::string, Make> makers = {{"cem", planet::cem_settings},
                                              {"icem", planet::icem_settings},
                                              {"mppi", planet::mppi_settings},
                                              {"shooting", planet::shooting_settings}};
  for (int i = 2; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--planner") != 0) continue;
    const auto found = makers.find(argv[i + 1]);
    if (found == makers.end()) {
      fail(std::string("--planner: expected cem, icem, mppi or shooting, got ") + argv[i + 1]);
    }
    out = found->second(std::move(out));
  }
}

// The options of everything that plans; what they do not say is in the weight file.
inline Options planner_options(planet::cpu::PlannerOptions& out) {
  return {
      {"--planner", &out.planner},       {"--horizon", &out.horizon},
      {"--candidates", &out.candidates}, {"--topk", &out.topk},
      {"--iterations", &out.iterations}, {"--threads", &out.threads},
      {"--budget-ms", &out.budget_ms},   {"--isa", &out.isa},
      {"--precision", &out.precision},
  };
}

inline void print_bound(const char* name, float one, const std::vector<float>& each) {
  std::printf(", %s", name);
  if (each.empty()) std::printf(" %g", one);
  for (const float value : each) std::printf(" %g", value);
}

// What the plain cross-entropy method does not have, where there is any.
inline void print_additions(const planet::SearchSettings& s) {
  const char* const shifts[] = {"none", "repeat", "middle"};
  if (s.colour > 0) {
    std::printf(", colour %g (%s)", s.colour,
                s.numerics == planet::Numerics::kUnit ? "unit" : "icem");
  }
  if (s.decay > 1) std::printf(", decay %g", s.decay);
  if (s.keep > 0) std::printf(", keep %lld", static_cast<long long>(s.keep));
  if (s.momentum > 0) std::printf(", momentum %g", s.momentum);
  if (s.temperature > 0) std::printf(", temperature %g", s.temperature);
  if (s.output == planet::Output::kBest) std::printf(", output best");
  if (s.shift != planet::Shift::kNone) std::printf(", shift %s", shifts[static_cast<int>(s.shift)]);
}

inline void print_settings(const planet::PlannerSettings& s) {
  std::printf("%s: horizon %lld, candidates %lld, topk %lld, iterations %lld, initial stddev %g",
              s.planner.c_str(), static_cast<long long>(s.horizon),
              static_cast<long long>(s.candidates), static_cast<long long>(s.topk),
              static_cast<long long>(s.iterations), s.initial_stddev);
  print_additions(s);
  print_bound("low", s.low, s.lows);
  print_bound("high", s.high, s.highs);
  std::printf(", spread %s, epsilon %g, state noise %s, discount %g, precision %s, budget %g ms",
              s.spread == planet::Spread::kPopulation ? "population" : "mean_absolute", s.epsilon,
              s.state_noise ? "on" : "off", s.discount, precision_name(s.precision), s.budget_ms);
  if (s.action_repeat != 0) {
    std::printf("; execute every action %lld times", static_cast<long long>(s.action_repeat));
  }
  std::printf("\n");
}
