#include "cpu_support.h"

#include <torch/headeronly/version.h>
#include <unistd.h>

#include "arguments.h"

namespace planet {

extern const int kTorchHeaders[3];  // module.cpp, which must not see torch's headers
const int kTorchHeaders[3] = {TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH};

bool interrupted();  // interrupt.cpp

namespace {

// OpenMP's threads do not survive a fork, and waiting for them would hang: a child plans alone.
const pid_t kOwner = getpid();

void run_on_torch(void*, int workers, void (*body)(void*, int), void* context) {
  const auto range = [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) body(context, static_cast<int>(worker));
  };
  if (workers == 1) return range(0, 1);
  torch::stable::parallel_for(0, workers, 1, range);
}

// Asking takes the GIL, for which a busy Python thread lets us wait (5 ms unless set otherwise), so
// it is not done more often than this.
constexpr std::chrono::milliseconds kAskEvery{20};

}  // namespace

cpu::Isa check_isa(std::optional<int64_t> index) {
  if (!index) fail("isa: expected an instruction set for tensors on cpu, got None");
  check_range("isa", *index, 0, cpu::isa_count() - 1);
  const cpu::Isa isa = static_cast<cpu::Isa>(*index);
  if (!cpu::isa_supported(isa)) {
    fail("isa: ", cpu::isa_name(isa), " does not run here: ", cpu::isa_refusal(isa));
  }
  return isa;
}

Precision check_precision(int64_t precision, cpu::Isa isa) {
  check_range("precision", precision, 0, kPrecisions - 1);
  const auto given = static_cast<Precision>(precision);
  if (cpu::kernels_name(isa, given) == nullptr) {
    fail("precision: there are no ", precision_name(given), " kernels for ", cpu::isa_name(isa));
  }
  return given;
}

cpu::Model make_model(const Tensor& packed, const std::vector<int64_t>& sizes, double min_stddev,
                      std::optional<int64_t> isa_index, int64_t precision) {
  const cpu::Isa isa = check_isa(isa_index);
  cpu::Model model{model_sizes(sizes), static_cast<float>(min_stddev), isa,
                   check_precision(precision, isa), nullptr};
  check_shape(packed, "packed", {cpu::packed_bytes(model.sizes, isa, model.precision)});
  model.packed = data_of(packed, "packed", ScalarType::Byte, Place());
  if (reinterpret_cast<uintptr_t>(model.packed) % 64 != 0) {
    fail("packed: expected data aligned to 64 bytes");
  }
  return model;
}

Parallel torch_threads() {
  const int workers = getpid() == kOwner ? static_cast<int>(torch::stable::get_num_threads()) : 1;
  return {workers < 1 ? 1 : workers, run_on_torch, nullptr};
}

bool stop_if_interrupted(void* context) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point& asked = *static_cast<Clock::time_point*>(context);
  const Clock::time_point now = Clock::now();
  if (now - asked < kAskEvery) return false;
  asked = now;
  return interrupted();
}

}  // namespace planet
