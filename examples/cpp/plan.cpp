// Plans one control step from a weight file, in a program without Python and torch.
//
//   plan WEIGHTS [--latent FILE] [--output FILE] [--seed 0] [--plans 1] [--threads 1]
//        [--horizon 12] [--candidates 1000] [--topk 100] [--iterations 10]
//        [--precision fp32|int8] [--isa NAME]
//
// --latent  raw float32: belief [D], then state [S], where to plan from; default zeros
// --output  raw float32 to write: mean [H, A], stddev [H, A], best return [1]
// --plans   how often to plan, for the time that is printed
// --isa     the widest instruction set to use
#include <planet/planner.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
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
  std::string weights, latent, output;
  int64_t seed = 0, plans = 1;
  PlannerOptions options;
};

int64_t integer(const std::string& name, const char* text) {
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  if (end == text || *end != '\0') fail(name + ": expected an integer, got " + text);
  return value;
}

planet::Precision precision(const std::string& name) {
  if (name == "fp32") return planet::Precision::kFloat32;
  if (name == "int8") return planet::Precision::kInt8;
  fail("--precision: expected fp32 or int8, got " + name);
}

Arguments parse(int argc, char** argv) {
  if (argc < 2) fail("expected a weight file, such as `planet export RUN_DIR FILE` writes");
  Arguments out;
  out.weights = argv[1];
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
  const Arguments arguments = parse(argc, argv);
  std::string error;

  planet::WeightFile weights;
  error = weights.read(arguments.weights.c_str());
  if (!error.empty()) fail(error);

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
