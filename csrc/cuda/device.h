// Says in words what the machine's devices can do.
#pragma once

namespace planet::cuda {

// Visible devices; on failure 0 and *error says why (a string that lives for ever), otherwise
// *error is null.
int device_count(const char** error);

// What the kernels were built for, as in PLANET_CUDA_ARCHS.
const char* built_architectures();

// Null if the current device runs the kernels of this build, otherwise why not (a string that lives
// for ever).
const char* device_refusal();

}  // namespace planet::cuda
