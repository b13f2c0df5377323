// An agent's step: filters frames into latents; the whole step, from frames to actions.
#include "control_step.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "cpu_support.h"
#include "library.h"
#include "model_tensors.h"

namespace planet {
namespace {

// From encoder = [image size, bit depth, then channels, kernel and stride of every layer].
EncoderSizes encoder_sizes(const std::vector<int64_t>& encoder) {
  const int64_t numbers = static_cast<int64_t>(encoder.size()) - 2, layers = numbers / 3;
  if (numbers != layers * 3 || numbers < 0 || layers > kMaxEncoderLayers) {
    fail("encoder: expected two numbers and three for each of 0 to ", kMaxEncoderLayers,
         " layers, got ", list_text(encoder));
  }
  check_range("encoder (image size)", encoder[0], 1, kMaxImageSize);
  check_range("encoder (bit depth)", encoder[1], 1, 8);
  EncoderSizes out{};
  out.image_size = static_cast<int>(encoder[0]);
  out.bit_depth = static_cast<int>(encoder[1]);
  out.layers = static_cast<int>(layers);
  for (int i = 0; i < out.layers; ++i) {
    const int64_t* at = &encoder[2 + 3 * i];
    check_range("encoder (channels)", at[0], 1, kMaxChannels);
    check_range("encoder (kernel)", at[1], 1, encoder_side(out, i - 1));
    check_range("encoder (stride)", at[2], 1, kMaxCount);
    out.layer[i] = {static_cast<int>(at[0]), static_cast<int>(at[1]), static_cast<int>(at[2])};
  }
  return out;
}

ModelSizes recurrent_sizes(const std::vector<int64_t>& sizes) {
  const ModelSizes out = model_sizes(sizes);
  check_range("sizes (D)", out.belief, 1, kMaxSize);
  return out;
}

// From the tensors in the order of FilterWeights, by turns weights and biases of the encoder.
FilterWeights filter_weights(const std::vector<Tensor>& tensors, const ModelSizes& sizes,
                             const EncoderSizes& encoder) {
  const int64_t count = 2 * encoder.layers + 4;
  check_range("tensors", static_cast<int64_t>(tensors.size()), count, count);
  size_t next = 0;
  FilterWeights out{};
  each_filter_tensor(
      sizes, encoder, out,
      [&](const char* name, int, std::initializer_list<int64_t> shape, const float*& pointer) {
        pointer = floats(tensors[next++], name, shape, Place());
      });
  return out;
}

cpu::FilterModel filter_model(const Tensor& packed, const std::vector<int64_t>& encoder,
                              const std::vector<int64_t>& sizes, double min_stddev, int64_t isa) {
  cpu::FilterModel out{recurrent_sizes(sizes), encoder_sizes(encoder),
                       static_cast<float>(min_stddev), check_isa(isa), nullptr};
  check_shape(packed, "filter_packed", {cpu::filter_packed_bytes(out.sizes, out.encoder, out.isa)});
  out.packed = data_of(packed, "filter_packed", ScalarType::Byte, Place());
  if (reinterpret_cast<uintptr_t>(out.packed) % 64 != 0) {
    fail("filter_packed: expected data aligned to 64 bytes");
  }
  return out;
}

Tensor pack_filter(std::vector<Tensor> tensors, std::vector<Tensor> rollout,
                   std::vector<int64_t> encoder_list, std::vector<int64_t> sizes_list,
                   int64_t isa_index) {
  const ModelSizes sizes = recurrent_sizes(sizes_list);
  const EncoderSizes encoder = encoder_sizes(encoder_list);
  const cpu::Isa isa = check_isa(isa_index);
  const ModelWeights model = model_weights(rollout, sizes);
  if (Place(rollout[0]) != Place()) fail("rollout: expected tensors on cpu");
  const FilterWeights weights = filter_weights(tensors, sizes, encoder);
  Tensor packed = new_workspace(rollout[0], cpu::filter_packed_bytes(sizes, encoder, isa));
  cpu::pack_filter(sizes, encoder, model, weights, isa, packed.mutable_data_ptr());
  return packed;
}

// Frames, seeds are left to the caller; checks the rest of a step of B rows.
FilterStep filter_arguments(const cpu::FilterModel& model, const Tensor& frames,
                            const Tensor& action, const Tensor& belief, const Tensor& state) {
  check_dims(frames, "frames", 4, "[B, h, w, 3]");
  const int64_t batch = frames.size(0), side = model.encoder.image_size;
  check_range("frames (B)", batch, 1, kMaxCount);
  check_shape(frames, "frames", {batch, side, side, 3});
  FilterStep out{};
  out.batch = batch;
  out.frames = static_cast<const uint8_t*>(data_of(frames, "frames", ScalarType::Byte, Place()));
  out.action = floats(action, "action", {batch, model.sizes.action}, Place());
  out.belief = floats(belief, "belief", {batch, model.sizes.belief}, Place());
  out.state = floats(state, "state", {batch, model.sizes.state}, Place());
  return out;
}

// Bytes of a workspace, or what to do where they overflow.
int64_t check_bytes(int64_t bytes) {
  if (bytes < 0) fail("B, J: expected fewer rows or candidates, the workspace overflows");
  return bytes;
}

std::tuple<Tensor, Tensor> filter_step(Tensor packed, std::vector<int64_t> encoder,
                                       std::vector<int64_t> sizes, double min_stddev, int64_t isa,
                                       Tensor frames, Tensor seeds, Tensor action, Tensor belief,
                                       Tensor state) {
  const cpu::FilterModel model = filter_model(packed, encoder, sizes, min_stddev, isa);
  FilterStep step = filter_arguments(model, frames, action, belief, state);
  step.seeds = integers(seeds, "seeds", {step.batch}, Place());
  std::tuple<Tensor, Tensor> out{new_floats(belief, {step.batch, model.sizes.belief}),
                                 new_floats(state, {step.batch, model.sizes.state})};
  step.next_belief = std::get<0>(out).mutable_data_ptr<float>();
  step.next_state = std::get<1>(out).mutable_data_ptr<float>();
  const Parallel threads = torch_threads();
  Tensor workspace = new_workspace(
      belief, check_bytes(cpu::filter_step_workspace(model, step.batch, threads.workers)));
  cpu::filter_step(model, step, workspace.mutable_data_ptr(), threads, nullptr);
  return out;
}

// A step without what it reads and writes.
cpu::ControlStep make_step(const cpu::FilterModel& filter, const cpu::Model& model,
                           const PlanProblem& settings, int64_t horizon, int64_t batch) {
  check_range("horizon", horizon, 1, kMaxHorizon);
  cpu::ControlStep step{filter,  model, settings, {},      {},     nullptr,
                        nullptr, false, 0.0f,     nullptr, nullptr};
  step.plan.horizon = horizon;
  step.plan.batch = batch;
  return step;
}

// The memory of a workspace of at least so many bytes.
void* workspace_of(const Tensor& workspace, int64_t bytes) {
  check_dims(workspace, "workspace", 1, "[bytes]");
  check_range("workspace (bytes)", workspace.size(0), bytes, INT64_MAX);
  void* memory = data_of(workspace, "workspace", ScalarType::Byte, Place());
  if (reinterpret_cast<uintptr_t>(memory) % 64 != 0) {
    fail("workspace: expected data aligned to 64 bytes");
  }
  return memory;
}

// Where the stages of a step are marked: int64 [1 + N, 5], whose first number becomes the count.
class Spans {
 public:
  explicit Spans(const std::optional<Tensor>& spans) {
    if (!spans) return;
    check_dims(*spans, "spans", 2, "[1 + N, 5]");
    const int64_t rows = spans->size(0);
    first_ = integers(*spans, "spans", {rows, 5}, Place());
    static_assert(sizeof(Span) == 5 * sizeof(int64_t));
    timeline_ = {reinterpret_cast<Span*>(first_ + 5), rows - 1, 0};
  }
  ~Spans() {
    if (first_ != nullptr) *first_ = std::min(timeline_.count, timeline_.capacity);
  }
  Spans(const Spans&) = delete;
  Spans& operator=(const Spans&) = delete;

  Timeline* timeline() { return first_ == nullptr ? nullptr : &timeline_; }

 private:
  int64_t* first_ = nullptr;
  Timeline timeline_{};
};

int64_t control_step(Tensor filter_packed, std::vector<int64_t> encoder, Tensor packed,
                     std::vector<int64_t> sizes, double min_stddev, int64_t isa, int64_t precision,
                     Tensor frames, Tensor episode_seeds, Tensor steps, Tensor action,
                     Tensor belief, Tensor state, Tensor past_mean, Tensor past_kept, Tensor low,
                     Tensor high, Tensor first_mean, Tensor first_stddev,
                     std::vector<int64_t> candidates, int64_t topk, int64_t iterations,
                     int64_t spread, double epsilon, bool state_noise, double discount,
                     std::optional<double> budget_ms, std::optional<Tensor> mix, double momentum,
                     std::optional<double> temperature, int64_t output, int64_t shift,
                     std::optional<double> exploration_stddev, Tensor next_belief,
                     Tensor next_state, Tensor mean, Tensor stddev, Tensor best_return, Tensor kept,
                     Tensor planned, Tensor next_action, Tensor finite, Tensor workspace,
                     std::optional<Tensor> span_table) {
  const Place cpu;
  const cpu::FilterModel filter = filter_model(filter_packed, encoder, sizes, min_stddev, isa);
  const cpu::Model model = make_model(packed, sizes, min_stddev, isa, precision);
  check_dims(mean, "mean", 3, "[H, B, A]");
  FilterStep filtered = filter_arguments(filter, frames, action, belief, state);
  const int64_t h = mean.size(0), b = filtered.batch, a = filter.sizes.action;
  const int64_t e = kept.dim() == 4 ? kept.size(2) : 0;
  filtered.next_belief = floats(next_belief, "next_belief", {b, filter.sizes.belief}, cpu);
  filtered.next_state = floats(next_state, "next_state", {b, filter.sizes.state}, cpu);
  PlanProblem settings = plan_settings(candidates, topk, iterations, 0, spread, epsilon,
                                       state_noise, discount, budget_ms);
  relate(settings, spread, e, momentum, temperature, output);
  cpu::ControlStep step = make_step(filter, model, settings, h, b);
  step.filtered = filtered;
  PlanProblem& plan = step.plan;
  plan.low = floats(low, "low", {b, a}, cpu);
  plan.high = floats(high, "high", {b, a}, cpu);
  plan.mean = floats(mean, "mean", {h, b, a}, cpu);
  plan.stddev = floats(stddev, "stddev", {h, b, a}, cpu);
  plan.best_return = floats(best_return, "best_return", {b}, cpu);
  plan.kept = floats(kept, "kept", {h, b, e, a}, cpu);
  plan.action = floats(planned, "planned", {b, a}, cpu);
  if (mix) plan.mix = floats(*mix, "mix", {h, h}, cpu);
  auto asked = std::chrono::steady_clock::now();
  plan.stop = stop_if_interrupted;
  plan.stop_context = &asked;
  check_range("shift", shift, 0, 2);
  step.start = {floats(first_mean, "first_mean", {b, a}, cpu),
                floats(first_stddev, "first_stddev", {b, a}, cpu), static_cast<Shift>(shift),
                floats(past_mean, "past_mean", {h, b, a}, cpu),
                floats(past_kept, "past_kept", {h, b, e, a}, cpu)};
  step.episode_seeds = integers(episode_seeds, "episode_seeds", {b}, cpu);
  step.steps = integers(steps, "steps", {b}, cpu);
  step.explore = exploration_stddev.has_value();
  step.exploration_stddev = static_cast<float>(exploration_stddev.value_or(0.0));
  step.action = floats(next_action, "next_action", {b, a}, cpu);
  check_shape(finite, "finite", {b});
  step.finite = static_cast<uint8_t*>(data_of(finite, "finite", ScalarType::Byte, cpu));
  const Parallel threads = torch_threads();
  void* memory =
      workspace_of(workspace, check_bytes(cpu::control_step_workspace(step, threads.workers)));
  Spans spans(span_table);
  return cpu::control_step(step, memory, threads, spans.timeline());
}

}  // namespace

// How long pack_filter's result is. This and the next are for module.cpp, which must not see
// torch's headers.
int64_t packed_filter_size(const std::vector<int64_t>& encoder, const std::vector<int64_t>& sizes,
                           int64_t isa) {
  return cpu::filter_packed_bytes(recurrent_sizes(sizes), encoder_sizes(encoder), check_isa(isa));
}

// Bytes of control_step's workspace.
int64_t control_step_bytes(const std::vector<int64_t>& encoder, const std::vector<int64_t>& sizes,
                           int64_t isa_index, int64_t precision, int64_t horizon, int64_t batch,
                           int64_t candidates, int64_t topk, int64_t keep, int64_t mixed,
                           int64_t workers) {
  const cpu::Isa isa = check_isa(isa_index);
  const cpu::FilterModel filter{recurrent_sizes(sizes), encoder_sizes(encoder), 0.0f, isa, nullptr};
  const cpu::Model model{filter.sizes, 0.0f, isa, check_precision(precision, isa), nullptr};
  check_range("batch", batch, 1, kMaxCount);
  check_range("threads", workers, 1, 1 << 16);
  PlanProblem settings = plan_settings({candidates}, topk, 1, 0, 0, 0.0, true, 1.0, std::nullopt);
  relate(settings, 0, keep, 0.0, std::nullopt, 0);
  check_range("mixed", mixed, 0, 1);
  const float any = 0.0f;  // whether there is a matrix counts alone
  if (mixed != 0) settings.mix = &any;
  const cpu::ControlStep step = make_step(filter, model, settings, horizon, batch);
  return check_bytes(cpu::control_step_workspace(step, static_cast<int>(workers)));
}

}  // namespace planet

PLANET_OP_OF_CPUS(pack_filter,
                  "(Tensor[] tensors, Tensor[] rollout, int[] encoder, int[] sizes, int isa) -> "
                  "Tensor")
PLANET_OP_OF_CPUS(filter_step,
                  "(Tensor filter_packed, int[] encoder, int[] sizes, float min_stddev, int isa, "
                  "Tensor frames, Tensor seeds, Tensor action, Tensor belief, Tensor state) -> "
                  "(Tensor belief, Tensor state)")
// Writes what it is given behind exploration_stddev, without which it does not explore; allocates
// nothing. Returns the number of iterations of the plan.
PLANET_OP_OF_CPUS(
    control_step,
    "(Tensor filter_packed, int[] encoder, Tensor packed, int[] sizes, float "
    "min_stddev, int isa, int precision, Tensor frames, Tensor episode_seeds, Tensor "
    "steps, Tensor action, Tensor belief, Tensor state, Tensor past_mean, Tensor "
    "past_kept, Tensor low, Tensor high, Tensor first_mean, Tensor first_stddev, "
    "int[] candidates, int topk, int iterations, int spread, float epsilon, bool "
    "state_noise, float discount, float? budget_ms, Tensor? mix, float momentum, "
    "float? temperature, int output, int shift, float? exploration_stddev, Tensor(a!) "
    "next_belief, Tensor(b!) next_state, Tensor(c!) mean, Tensor(d!) stddev, "
    "Tensor(e!) best_return, Tensor(f!) kept, Tensor(g!) planned, Tensor(h!) "
    "next_action, Tensor(i!) finite, Tensor(j!) workspace, Tensor(k!)? spans) -> int")
