// Plans one control step from a weight file, in a program without Python and torch.
//
//   plan WEIGHTS [--latent FILE] [--output FILE] [--seed 0] [--plans 1] [--threads 1]
//        [--horizon H] [--candidates J] [--topk K] [--iterations I] [--budget-ms MS|inf]
//        [--precision fp32|int8] [--isa NAME]
//
// The settings are those in the weight file; options come before them.
//
// --latent  raw float32: belief [D], then state [S], where to plan from; default zeros
// --output  raw float32 to write: mean [H, A], stddev [H, A], best return [1]
// --plans   how often to plan, for the time that is printed
// --isa     the widest instruction set to use
#include <planet/planner.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

using planet::cpu::Plan;
using planet::cpu::Planner;
using planet::cpu::PlannerOptions;

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "plan: %s\n", message.c_str());
  std::exit(1);
}

struct Arguments {
  std::string latent, output;
  int64_t seed = 0, plans = 1;
  PlannerOptions options;
};

int64_t integer(const std::string& name, const char* text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc() || *end != '\0') fail(name + ": expected an integer, got " + text);
  return value;
}

planet::Precision precision(const std::string& name) {
  if (name == "fp32") return planet::Precision::kFloat32;
  if (name == "int8") return planet::Precision::kInt8;
  fail("--precision: expected fp32 or int8, got " + name);
}

double number(const std::string& name, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0') fail(name + ": expected a number, got " + text);
  return value;
}

// The options behind the weight file's name; what they do not say is in `settings`.
Arguments parse(int argc, char** argv, const planet::PlannerSettings& settings) {
  Arguments out{{}, {}, 0, 1, PlannerOptions(settings)};
  int64_t threads = 1;
  const std::map<std::string, int64_t*> integers = {
      {"--seed", &out.seed},
      {"--plans", &out.plans},
      {"--threads", &threads},
      {"--horizon", &out.options.horizon},
      {"--candidates", &out.options.candidates},
      {"--topk", &out.options.topk},
      {"--iterations", &out.options.iterations},
  };
  for (int i = 2; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) fail(name + ": expected a value");
    const char* value = argv[i + 1];
    if (integers.count(name) == 1) {
      *integers.at(name) = integer(name, value);
    } else if (name == "--latent") {
      out.latent = value;
    } else if (name == "--output") {
      out.output = value;
    } else if (name == "--budget-ms") {
      out.options.budget_ms = number(name, value);
    } else if (name == "--precision") {
      out.options.precision = precision(value);
    } else if (name == "--isa") {
      out.options.isa = value;
    } else {
      fail(name + ": no such option");
    }
  }
  if (out.plans < 1) fail("--plans: expected at least 1, got " + std::to_string(out.plans));
  out.options.threads = static_cast<int>(std::clamp<int64_t>(threads, 0, INT_MAX));
  return out;
}

void print_bound(const char* name, float one, const std::vector<float>& each) {
  std::printf(", %s", name);
  if (each.empty()) std::printf(" %g", one);
  for (const float value : each) std::printf(" %g", value);
}

void print_settings(const planet::PlannerSettings& s) {
  constexpr const char* kPrecisions[] = {"fp32", "int8", "fp16", "bf16"};
  std::printf("horizon %lld, candidates %lld, topk %lld, iterations %lld, initial stddev %g",
              static_cast<long long>(s.horizon), static_cast<long long>(s.candidates),
              static_cast<long long>(s.topk), static_cast<long long>(s.iterations),
              s.initial_stddev);
  print_bound("low", s.low, s.lows);
  print_bound("high", s.high, s.highs);
  std::printf(", spread %s, epsilon %g, state noise %s, discount %g, precision %s, budget %g ms",
              s.spread == planet::Spread::kPopulation ? "population" : "mean_absolute", s.epsilon,
              s.state_noise ? "on" : "off", s.discount, kPrecisions[static_cast<int>(s.precision)],
              s.budget_ms);
  if (s.action_repeat != 0) {
    std::printf("; execute every action %lld times", static_cast<long long>(s.action_repeat));
  }
  std::printf("\n");
}

// Belief and state from a file, or zeros.
std::vector<float> read_latent(const std::string& path, size_t size) {
  std::vector<float> latent(size + 1, 0.0f);
  if (!path.empty()) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) fail(path + ": cannot be opened");
    const size_t got = std::fread(latent.data(), sizeof(float), size + 1, file);
    std::fclose(file);
    if (got != size) fail(path + ": expected " + std::to_string(size) + " float32 (D + S)");
  }
  return latent;
}

void write_plan(const std::string& path, const Plan& plan, size_t size) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) fail(path + ": cannot be opened");
  size_t written = std::fwrite(plan.mean, sizeof(float), size, file);
  written += std::fwrite(plan.stddev, sizeof(float), size, file);
  written += std::fwrite(plan.best_return, sizeof(float), 1, file);
  if (std::fclose(file) != 0 || written != 2 * size + 1) fail(path + ": cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) fail("expected a weight file, such as `planet export RUN_DIR FILE` writes");
  planet::WeightFile weights;
  std::string error = weights.read(argv[1]);
  if (!error.empty()) fail(error);
  const Arguments arguments = parse(argc, argv, weights.view().settings);
  print_settings(arguments.options);

  // Everything that takes memory or time happens here, once.
  const auto planner = Planner::make(weights.view(), arguments.options, error);
  if (planner == nullptr) fail(error);

  const planet::ModelSizes& sizes = planner->sizes();
  const auto latent = read_latent(arguments.latent, sizes.belief + sizes.state);
  const float* belief = latent.data();
  const float* state = belief + sizes.belief;

  // The control loop: filter the latent from what the sensors see, plan, execute the first action.
  Plan plan{};
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < arguments.plans; ++i) {
    plan = planner->plan(belief, state, arguments.seed);
  }
  const std::chrono::duration<double, std::milli> elapsed =
      std::chrono::steady_clock::now() - begin;

  std::printf("action");
  for (int a = 0; a < sizes.action; ++a) std::printf(" %.6g", plan.action[a]);
  std::printf("\nbest return %.6g\n%.3f ms per plan, %lld iterations, %d threads, %s\n",
              plan.best_return[0], elapsed.count() / static_cast<double>(arguments.plans),
              static_cast<long long>(plan.iterations), arguments.options.threads, planner->isa());
  if (!arguments.output.empty()) {
    write_plan(arguments.output, plan, arguments.options.horizon * sizes.action);
  }
}
