// Support of the ops for CPU tensors: a model, torch's threads, and Ctrl-C.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "checks.h"
#include "model.h"
#include "parallel.h"

namespace planet {

// The instruction set of an op's argument `isa`.
cpu::Isa check_isa(std::optional<int64_t> index);

Precision check_precision(int64_t precision, cpu::Isa isa);

cpu::Model make_model(const Tensor& packed, const std::vector<int64_t>& sizes, double min_stddev,
                      std::optional<int64_t> isa_index, int64_t precision);

// Torch's own pool, so that torch.set_num_threads holds for us too.
Parallel torch_threads();

// Whether a signal such as Ctrl-C asks to stop; `context` is when it was last asked, a
// std::chrono::steady_clock::time_point.
bool stop_if_interrupted(void* context);

}  // namespace planet
