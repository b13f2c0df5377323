// How ops are registered. An op's file has its checks and its implementations, for CPU tensors and,
// where the kernels were built, for CUDA tensors. It ends with PLANET_OP.
#pragma once

#include <torch/csrc/stable/library.h>

// With PLANET_EMULATED the CUDA implementations, linked with kernels that run on the CPU, become
// ops of their own for CPU tensors: torch.ops.planet_emulated, for tests (tests/ops/cuda).
#ifdef PLANET_EMULATED
#define PLANET_LIBRARY planet_emulated
#define PLANET_CUDA_KEY CPU
#define PLANET_CPU_OP(name)
#else
#define PLANET_WITH_CPU 1
#define PLANET_LIBRARY planet
#define PLANET_CUDA_KEY CUDA
#define PLANET_CPU_OP(name) PLANET_IMPL(CPU, name, name)
#endif
#ifdef PLANET_WITH_CUDA
#define PLANET_CUDA_OP(name) PLANET_IMPL(PLANET_CUDA_KEY, name, name##_cuda)
#else
#define PLANET_CUDA_OP(name)
#endif

#define PLANET_IMPL(key, name, function)              \
  STABLE_TORCH_LIBRARY_IMPL(PLANET_LIBRARY, key, m) { \
    m.impl(#name, TORCH_BOX(&planet::function));      \
  }

// Registers the op planet::name, of CPU tensors alone, with its schema's signature.
#define PLANET_OP_OF_CPUS(name, signature)           \
  STABLE_TORCH_LIBRARY_FRAGMENT(PLANET_LIBRARY, m) { \
    m.def(#name signature);                          \
  }                                                  \
  PLANET_CPU_OP(name)

// Likewise, and planet::name_cuda for CUDA tensors.
#define PLANET_OP(name, signature) PLANET_OP_OF_CPUS(name, signature) PLANET_CUDA_OP(name)
