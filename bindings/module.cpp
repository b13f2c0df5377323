// `planet._C`: what is compiled in, which instruction set is used, and Philox for tests. Loading it
// also registers torch.ops.planet (*_ops.cpp).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/device.h"
#include "isa.h"
#include "order.h"
#include "philox.h"

namespace py = pybind11;

namespace planet {

extern const int kTorchHeaders[3];  // cpu_support.cpp
extern const char kSources[];       // fingerprint.cpp: "planet-sources:" and a hash

// weights_ops.cpp
int64_t packed_size(const std::vector<int64_t>& sizes, std::optional<int64_t> isa,
                    int64_t precision);

namespace {

std::atomic<cpu::Isa> isa_in_use{0};

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (cpu::isa_supported(isa)) names.push_back(cpu::isa_name(isa));
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "'" : ", '") + name + "'";
  return out;
}

// The widest supported set not wider than `cap`.
cpu::Isa choose(const char* argument, const char* cap) {
  const cpu::Isa isa = cpu::best_isa(cap);
  if (isa < 0) {
    throw py::value_error(std::string(argument) + ": expected one of " + joined(supported_isas()) +
                          ", got '" + cap + "'");
  }
  return isa;
}

// Exactly `name`, or without one the default.
void set_isa(const std::optional<std::string>& name) {
  const char* cap = name ? name->c_str() : std::getenv("PLANET_CPU_ISA");
  if (cap != nullptr && *cap == '\0') cap = nullptr;
  const cpu::Isa isa = choose(name ? "isa" : "PLANET_CPU_ISA", cap);
  if (name && *name != cpu::isa_name(isa)) {
    throw py::value_error("isa: expected one of " + joined(supported_isas()) + ", got '" + *name +
                          "', which this processor does not run");
  }
  isa_in_use = isa;
}

py::dict cuda_info() {
  py::dict info;
#ifdef PLANET_WITH_CUDA
  const char* error = nullptr;
  const int devices = cuda::device_count(&error);
  info["compiled"] = true;
  info["toolkit"] = PLANET_CUDA_VERSION;
  info["architectures"] = PLANET_CUDA_ARCHS;
  info["devices"] = devices;
  info["status"] = error ? error : "ok";
#else
  info["compiled"] = false;
  info["devices"] = 0;
  info["status"] = PLANET_CUDA_STATUS;
#endif
  return info;
}

py::dict build_info() {
  py::dict info;
  info["version"] = PLANET_VERSION;
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#else
  info["compiler"] = "gcc " __VERSION__;
#endif
  info["isa"] = cpu::isa_name(isa_in_use);
  info["isas"] = supported_isas();
  info["int8"] = cpu::isa_has_int8(isa_in_use);
  info["torch_headers"] = std::to_string(kTorchHeaders[0]) + "." +
                          std::to_string(kTorchHeaders[1]) + "." + std::to_string(kTorchHeaders[2]);
  info["fingerprint"] = std::string_view(kSources).substr(std::string_view(kSources).find(':') + 1);
  info["cuda"] = cuda_info();
  return info;
}

bool on_main_thread() {
  return syscall(SYS_gettid) == getpid();
}

// Called by the interpreter: raises the exception that `interrupted` handed to it.
int raise_pending(void* raised) {
  const py::object error = py::reinterpret_steal<py::object>(static_cast<PyObject*>(raised));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  return -1;
}

std::array<uint32_t, 4> philox(const std::array<uint32_t, 4>& counter,
                               const std::array<uint32_t, 2>& key) {
  uint32_t word[4] = {counter[0], counter[1], counter[2], counter[3]};
  philox4x32(word, key[0], key[1]);
  return {word[0], word[1], word[2], word[3]};
}

}  // namespace

// Whether a signal such as Ctrl-C asks the calling thread to stop. Its handler runs here. What it
// raises cannot pass through an op, so the interpreter is asked to raise it as soon as the op is
// back in Python, whoever called it; nothing of it is kept here.
bool interrupted() {
  if (!on_main_thread() || !Py_IsInitialized()) return false;  // spares other threads the GIL
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() == 0) return false;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  if (trace != nullptr) PyException_SetTraceback(value, trace);
  Py_XDECREF(type);
  Py_XDECREF(trace);
  if (Py_AddPendingCall(raise_pending, value) == 0) return true;
  // Its queue of 32 is full of others' calls: the plan goes on, the exception is at least shown.
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value)), value);
  Py_DECREF(value);
  PyErr_WriteUnraisable(nullptr);
  return false;
}

}  // namespace planet

PYBIND11_MODULE(_C, m) {
  using namespace planet;
  m.doc() =
      "The compiled planner: build facts and the instruction set; the ops are torch.ops.planet.";
  set_isa(std::nullopt);
  m.def("build_info", &build_info, "What this extension was built with and runs on.");
  m.def("isa", [] { return static_cast<int>(isa_in_use); }, "Index of the instruction set in use.");
  m.def(
      "isa_name", [] { return cpu::isa_name(isa_in_use); }, "Name of the instruction set in use.");
  m.def(
      "has_int8", [] { return cpu::isa_has_int8(isa_in_use); },
      "Whether the instruction set in use has int8 kernels.");
  m.def("packed_bytes", &packed_size, py::arg("sizes"), py::arg("isa"), py::arg("precision"),
        "How long the result of pack_weights is; without an instruction set, on CUDA devices.");
  m.def("set_isa", &set_isa, py::arg("name"),
        "Uses one instruction set by name, or with None the widest (capped by PLANET_CPU_ISA).");
  m.def("philox4x32", &philox, py::arg("counter"), py::arg("key"), "Philox4x32-10, four words.");
  m.def(
      "rank_key",
      [](float value, uint32_t index) { return rank_key(std::bit_cast<uint32_t>(value), index); },
      py::arg("value"), py::arg("index"), "The key by which returns are ranked.");
  m.def("uniform", &uniform, py::arg("word"), "((word >> 8) + 0.5) * 2**-24.");
}
