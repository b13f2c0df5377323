// How ops are registered. An op's file has its schema, its checks and its implementations: for CPU
// tensors, and for CUDA tensors where the kernels were built.
#pragma once

#include <torch/csrc/stable/library.h>

// PLANET_SCHEMA(m) { m.def(...); }, PLANET_CPU(m) { m.impl(...); }, PLANET_CUDA(m) likewise. (A
// step of indirection, so that the macros of torch receive the names and not these.)
//
// With PLANET_EMULATED the CUDA implementations, linked with kernels that run on the CPU, become
// ops of their own for CPU tensors: torch.ops.planet_emulated, for tests (tests/ops/cuda).
#define PLANET_REGISTER(macro, ...) macro(__VA_ARGS__)
#ifdef PLANET_EMULATED
#define PLANET_SCHEMA(m) PLANET_REGISTER(STABLE_TORCH_LIBRARY_FRAGMENT, planet_emulated, m)
#define PLANET_CUDA(m) PLANET_REGISTER(STABLE_TORCH_LIBRARY_IMPL, planet_emulated, CPU, m)
#else
#define PLANET_WITH_CPU 1
#define PLANET_SCHEMA(m) PLANET_REGISTER(STABLE_TORCH_LIBRARY_FRAGMENT, planet, m)
#define PLANET_CPU(m) PLANET_REGISTER(STABLE_TORCH_LIBRARY_IMPL, planet, CPU, m)
#define PLANET_CUDA(m) PLANET_REGISTER(STABLE_TORCH_LIBRARY_IMPL, planet, CUDA, m)
#endif
