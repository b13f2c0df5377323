// Acts from camera frames at a control rate, in a program without Python and torch.
//
//   robot WEIGHTS [--frames FILE] [--executed FILE] [--actions FILE] [--rate HZ] [--steps 100]
//         [--seed 0] [--explore] [--threads 1] [--budget-ms MS|inf] [--precision fp32|int8|bf16]
//         [--isa NAME] [--planner cem|icem|mppi|shooting] [--horizon H] [--candidates J] [--topk K]
//         [--iterations I]
//
// The settings are those in the weight file, and with --planner those that Python's planner of this
// name has; other options override both.
//
// --frames    an episode's camera frames, uint8 [N, h, w, 3] of numpy.save or raw; when it is over
//             the next episode begins with its first frame. Without it, pictures made up
// --executed  raw float32 [N, A]: the actions that were really executed after each of the frames;
//             without it, those that the agent decides on
// --actions   raw float32 to write: the action that the agent decides on in every step, [steps, A]
// --rate      control steps per second; without it, steps follow one another at once. An action is
//             held for a whole step, which is as long as `action_repeat` steps of the environment
//             that the agent was trained in
// --seed      of the first episode; each later one has the next one
// --explore   adds noise to actions, as when data is collected
// --isa       the widest instruction set to use
#include <planet/agent.h>

#include "frames.h"
#include "latency.h"
#include "options.h"

namespace {

using planet::cpu::Agent;
using planet::cpu::AgentOptions;

constexpr int kWarmup = 5;                  // steps that are not counted
constexpr int64_t kMostSteps = 10'000'000;  // whose times and actions are kept, some 200 bytes each

// Begins a period again and again, by absolute times: what one step takes moves no other. A step
// that takes longer than its period costs the periods that it runs into.
class Pace {
 public:
  // Without a rate (0) nothing waits.
  explicit Pace(double rate_hz)
      : period_(rate_hz > 0 ? 1e3 / rate_hz : 0), origin_(milliseconds(CLOCK_MONOTONIC)) {}

  double period() const { return period_; }  // milliseconds

  // Sleeps until the next period begins; returns how many milliseconds later it really is.
  double wait() {
    if (period_ == 0) return 0;
    const double passed = (milliseconds(CLOCK_MONOTONIC) - origin_) / period_;
    count_ = std::max(count_ + 1, static_cast<int64_t>(std::ceil(passed)));
    const double begin = origin_ + static_cast<double>(count_) * period_;
    timespec until;
    until.tv_sec = static_cast<time_t>(begin / 1e3);
    until.tv_nsec = static_cast<long>((begin - 1e3 * static_cast<double>(until.tv_sec)) * 1e6);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
    }
    return milliseconds(CLOCK_MONOTONIC) - begin;
  }

 private:
  double period_, origin_;
  int64_t count_ = 0;
};

struct Arguments {
  std::string frames, executed, actions;
  double rate = 0;
  int64_t steps = 100, seed = 0;
  bool explore = false;
};

Arguments parse(int argc, char** argv, AgentOptions& settings) {
  Arguments out;
  Options options = planner_options(settings);
  options.insert({{"--frames", &out.frames}, {"--executed", &out.executed}});
  options.insert({{"--actions", &out.actions}, {"--rate", &out.rate}});
  options.insert({{"--steps", &out.steps}, {"--seed", &out.seed}, {"--explore", &out.explore}});
  choose_planner(argc, argv, settings);
  read_options(argc, argv, options);
  if (out.steps < 1 || out.steps > kMostSteps) {
    fail("--steps: expected 1 to " + std::to_string(kMostSteps) + ", got " +
         std::to_string(out.steps));
  }
  if (out.frames.empty() && !out.executed.empty()) fail("--executed: expected --frames as well");
  if (!(out.rate >= 0 && out.rate <= 1e6)) {
    fail("--rate: expected 0 to 1000000, got " + std::to_string(out.rate));
  }
  return out;
}

// Executed actions, one for each frame, or none.
std::vector<float> read_actions(const std::string& path, size_t frames, int size) {
  if (path.empty()) return {};
  const std::vector<uint8_t> bytes = read_bytes(path);
  std::vector<float> actions(frames * static_cast<size_t>(size));
  if (bytes.empty() || bytes.size() != actions.size() * sizeof(float)) {
    fail(path + ": expected an action of " + std::to_string(size) + " float32 for each of " +
         std::to_string(frames) + " frames, got " + std::to_string(bytes.size()) + " bytes");
  }
  std::memcpy(actions.data(), bytes.data(), bytes.size());
  return actions;
}

// A file to write, or none; opened before the loop, which may take an hour.
std::FILE* open_to_write(const std::string& path) {
  if (path.empty()) return nullptr;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) fail(path + ": cannot be opened");
  return file;
}

void write_actions(std::FILE* file, const std::string& path, const std::vector<float>& actions) {
  if (file == nullptr) return;
  const size_t written = std::fwrite(actions.data(), sizeof(float), actions.size(), file);
  if (std::fclose(file) != 0 || written != actions.size()) fail(path + ": cannot be written");
}

void print(const Latency& latency, const Arguments& arguments, double period,
           std::vector<double>& lateness, int64_t missed) {
  const auto steps = static_cast<long long>(arguments.steps);
  std::printf(
      "act: one control step from frame to action. Milliseconds of %lld steps after %d for\n"
      "warm-up; a p95 needs %zu steps, a p99 %zu.\n\n",
      steps, kWarmup, values_needed(95), values_needed(99));
  latency.print();
  if (period == 0) return;
  std::sort(lateness.begin(), lateness.end());
  std::printf(
      "\nmissed: %lld of %lld steps (%.1f%%), not done within %g ms (%g Hz); the next step\n"
      "starts with the next period. late start: %.3f in the middle, %.3f at most\n",
      static_cast<long long>(missed), steps,
      100 * static_cast<double>(missed) / static_cast<double>(steps), period, arguments.rate,
      lateness[lateness.size() / 2], lateness.back());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || std::strcmp(argv[1], "--help") == 0) {
    fail(
        "expected a weight file, such as `planet export RUN_DIR FILE` writes, then options, which "
        "stand at the top of robot.cpp");
  }
  planet::WeightFile weights;
  std::string error = weights.read(argv[1]);
  if (!error.empty()) fail(error);
  AgentOptions settings(weights.view().settings);
  const Arguments arguments = parse(argc, argv, settings);

  // Everything that takes memory or time happens here, once.
  const auto agent = Agent::make(weights.view(), settings, error);
  if (agent == nullptr) fail(error);
  print_settings(settings);
  std::printf("frames of %d x %d, %d threads, %s", agent->image_size(), agent->image_size(),
              settings.threads, agent->isa());
  if (arguments.explore) std::printf(", exploration stddev %g", settings.exploration_stddev);
  std::printf("\n");
  const int size = agent->sizes().action;
  const Frames camera(arguments.frames, agent->image_size());
  std::FILE* const actions_file = open_to_write(arguments.actions);
  const auto executed = read_actions(arguments.executed, camera.count(), size);
  const auto steps = static_cast<size_t>(arguments.steps);
  std::vector<float> actions(steps * size);
  std::vector<double> lateness(steps);
  Latency latency(steps, static_cast<size_t>(settings.iterations));
  for (int i = 0; i < kWarmup; ++i) agent->act(camera.at(0), arguments.explore);

  // The control loop.
  int64_t missed = 0;
  Pace pace(arguments.rate);
  for (size_t step = 0; step < steps; ++step) {
    const size_t of_episode = camera.count() == 0 ? step : step % camera.count();
    if (of_episode == 0) agent->reset(arguments.seed + step / std::max<size_t>(camera.count(), 1));
    lateness[step] = pace.wait();

    // See, and decide.
    latency.begin();
    const planet::cpu::Step decided =
        agent->act(camera.at(of_episode), arguments.explore, latency.timeline());
    const double took = latency.end();
    if (pace.period() > 0 && lateness[step] + took > pace.period()) ++missed;
    // A robot would stop, or hold its last action: the agent is as it was before the step.
    if (!decided.finite) fail("step " + std::to_string(step) + ": the model overflows");

    // Move: this is where the action goes to the motors, until the next one.
    std::copy_n(decided.action, size, actions.begin() + static_cast<std::ptrdiff_t>(step) * size);

    // If something else was executed, a limit's or a person's action, the agent is told.
    if (!executed.empty() && !agent->executed(executed.data() + of_episode * size)) {
      fail(arguments.executed + ": expected finite actions");
    }
  }

  print(latency, arguments, pace.period(), lateness, missed);
  write_actions(actions_file, arguments.actions, actions);
}
