// Plans one control step from a weight file, in a program without Python and torch.
//
//   plan WEIGHTS [--latent FILE] [--output FILE] [--seed 0] [--plans 1] [--threads 1]
//        [--planner cem|icem|mppi|shooting] [--horizon H] [--candidates J] [--topk K]
//        [--iterations I] [--budget-ms MS|inf] [--precision fp32|int8|bf16] [--isa NAME]
//
// The settings are those in the weight file, and with --planner those that Python's planner of this
// name has; other options override both.
//
// --latent  raw float32: belief [D], then state [S], where to plan from; default zeros
// --output  raw float32 to write: mean [H, A], stddev [H, A], best return [1], action [A]
// --plans   how often to plan, for the time that is printed
// --isa     the widest instruction set to use
#include <planet/planner.h>

#include <chrono>

#include "options.h"

namespace {

using planet::cpu::Plan;
using planet::cpu::Planner;
using planet::cpu::PlannerOptions;

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

void write_plan(const std::string& path, const Plan& plan, size_t size, size_t actions) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) fail(path + ": cannot be opened");
  size_t written = std::fwrite(plan.mean, sizeof(float), size, file);
  written += std::fwrite(plan.stddev, sizeof(float), size, file);
  written += std::fwrite(plan.best_return, sizeof(float), 1, file);
  written += std::fwrite(plan.action, sizeof(float), actions, file);
  if (std::fclose(file) != 0 || written != 2 * size + 1 + actions)
    fail(path + ": cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) fail("expected a weight file, such as `planet export RUN_DIR FILE` writes");
  planet::WeightFile weights;
  std::string error = weights.read(argv[1]);
  if (!error.empty()) fail(error);
  PlannerOptions settings(weights.view().settings);
  std::string latent_file, output;
  int64_t seed = 0, plans = 1;
  Options options = planner_options(settings);
  options.insert({{"--latent", &latent_file}, {"--output", &output}});
  options.insert({{"--seed", &seed}, {"--plans", &plans}});
  choose_planner(argc, argv, settings);
  read_options(argc, argv, options);
  if (plans < 1) fail("--plans: expected at least 1, got " + std::to_string(plans));
  print_settings(settings);

  // Everything that takes memory or time happens here, once.
  const auto planner = Planner::make(weights.view(), settings, error);
  if (planner == nullptr) fail(error);

  const planet::ModelSizes& sizes = planner->sizes();
  const auto latent = read_latent(latent_file, sizes.belief + sizes.state);
  const float* belief = latent.data();
  const float* state = belief + sizes.belief;

  // The control loop: filter the latent from what the sensors see, plan, execute the action. Where
  // an episode goes on, planner->shift() before a plan lets it start from the one before.
  Plan plan{};
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < plans; ++i) {
    plan = planner->plan(belief, state, seed);
  }
  const std::chrono::duration<double, std::milli> elapsed =
      std::chrono::steady_clock::now() - begin;

  std::printf("action");
  for (int a = 0; a < sizes.action; ++a) std::printf(" %.6g", plan.action[a]);
  std::printf("\nbest return %.6g\n%.3f ms per plan, %lld iterations, %d threads, %s\n",
              plan.best_return[0], elapsed.count() / static_cast<double>(plans),
              static_cast<long long>(plan.iterations), settings.threads, planner->isa());
  if (!output.empty()) {
    write_plan(output, plan, settings.horizon * sizes.action, sizes.action);
  }
}
