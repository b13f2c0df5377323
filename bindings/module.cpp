// `planet._C`: what is compiled in, which instruction set is used, and Philox for tests. Loading it
// also registers torch.ops.planet (*_ops.cpp).
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "isa.h"
#include "objects.h"
#include "order.h"
#include "philox.h"

namespace planet {

extern const int kTorchHeaders[3];  // cpu_support.cpp
extern const char kSources[];       // fingerprint.cpp: "planet-sources:" and a hash

// weights_ops.cpp
int64_t packed_size(const std::vector<int64_t>& sizes, std::optional<int64_t> isa,
                    int64_t precision);

// control_step_ops.cpp
int64_t packed_filter_size(const std::vector<int64_t>& encoder, const std::vector<int64_t>& sizes,
                           int64_t isa);
int64_t control_step_bytes(const std::vector<int64_t>& encoder, const std::vector<int64_t>& sizes,
                           int64_t isa, int64_t precision, int64_t horizon, int64_t batch,
                           int64_t candidates, int64_t topk, int64_t keep, int64_t mixed,
                           int64_t workers);

namespace {

std::atomic<cpu::Isa> isa_in_use{0};

// As far as is known without asking for permissions.
std::vector<std::string> usable_isas() {
  std::vector<std::string> names;
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (cpu::isa_refusal(isa) == nullptr) names.push_back(cpu::isa_name(isa));
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "'" : ", '") + name + "'";
  return out;
}

// ": " and why this machine does not run the set of that name, if there is one.
std::string reason(const std::string& name) {
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (name == cpu::isa_name(isa)) return std::string(": ") + cpu::isa_refusal(isa);
  }
  return {};
}

// The widest supported set not wider than PLANET_CPU_ISA.
cpu::Isa default_isa() {
  const char* cap = std::getenv("PLANET_CPU_ISA");
  const cpu::Isa isa = cpu::best_isa(cap != nullptr && *cap != '\0' ? cap : nullptr);
  if (isa < 0) {
    throw std::invalid_argument("PLANET_CPU_ISA: expected one of " + joined(usable_isas()) +
                                ", got '" + cap + "'");
  }
  return isa;
}

cpu::Isa isa_called(const std::string& name) {
  const cpu::Isa isa = cpu::best_isa(name.c_str());
  if (isa < 0 || name != cpu::isa_name(isa)) {
    throw std::invalid_argument("isa: expected one of " + joined(usable_isas()) + ", got '" + name +
                                "'" + reason(name));
  }
  return isa;
}

PyObject* cuda_info() {
  Dict info;
#ifdef PLANET_WITH_CUDA
  const char* error = nullptr;
  const int devices = cuda::device_count(&error);
  info.set("compiled", true);
  info.set("toolkit", PLANET_CUDA_VERSION);
  info.set("architectures", cuda::built_architectures());
  info.set("devices", devices);
  info.set("status", error ? error : "ok");
#else
  info.set("compiled", false);
  info.set("devices", 0);
  info.set("status", PLANET_CUDA_STATUS);
#endif
  return info.release();
}

// The set whose kernels compute a precision, by name of the precision; only those that there are.
PyObject* kernels_info() {
  Dict info;
  for (int i = 0; i < kPrecisions; ++i) {
    const auto precision = static_cast<Precision>(i);
    const char* name = cpu::kernels_name(isa_in_use, precision);
    if (name != nullptr) info.set(precision_name(precision), name);
  }
  return info.release();
}

// The sets that have kernels of their own for a precision, by name of the precision.
PyObject* kernels_there_are() {
  Dict info;
  for (int i = 0; i < kPrecisions; ++i) {
    const auto precision = static_cast<Precision>(i);
    std::vector<std::string> names;
    for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
      if (cpu::has_own_kernels(isa, precision)) names.push_back(cpu::isa_name(isa));
    }
    info.set(precision_name(precision), names);
  }
  return info.release();
}

// Why this machine does not run the others, by name.
PyObject* refused_isas() {
  Dict info;
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    const char* reason = cpu::isa_refusal(isa);
    if (reason != nullptr) info.set(cpu::isa_name(isa), reason);
  }
  return info.release();
}

PyObject* build_info(PyObject*) {
  Dict info;
  info.set("version", PLANET_VERSION);
#if defined(__clang__)
  info.set("compiler", "clang " __clang_version__);
#else
  info.set("compiler", "gcc " __VERSION__);
#endif
  info.set("isa", cpu::isa_name(isa_in_use));
  info.set("isas", usable_isas());
  info.set("precisions", Owned(kernels_info()));
  info.set("kernels", Owned(kernels_there_are()));
  info.set("refused", Owned(refused_isas()));
  const auto [major, minor, patch] = kTorchHeaders;
  info.set("torch_headers", Owned(PyUnicode_FromFormat("%d.%d.%d", major, minor, patch)));
  info.set("fingerprint", std::strchr(kSources, ':') + 1);
  info.set("cuda", Owned(cuda_info()));
  return info.release();
}

PyObject* isa(PyObject*) {
  return to_object(isa_in_use.load());
}

PyObject* isa_name(PyObject*) {
  return to_object(cpu::isa_name(isa_in_use));
}

PyObject* precisions(PyObject*) {
  return kernels_info();
}

PyObject* packed_bytes(PyObject* arguments) {
  const auto [sizes, isa, precision] = positional<3>(arguments, "packed_bytes");
  const std::vector<int64_t> model = integers("sizes", sizes);
  std::optional<int64_t> index;
  if (isa != Py_None) index = integer("isa", isa);
  return PyLong_FromLongLong(packed_size(model, index, integer("precision", precision)));
}

PyObject* packed_filter_bytes(PyObject* arguments) {
  const auto [encoder, sizes, isa] = positional<3>(arguments, "packed_filter_bytes");
  return PyLong_FromLongLong(packed_filter_size(integers("encoder", encoder),
                                                integers("sizes", sizes), integer("isa", isa)));
}

PyObject* control_step_workspace(PyObject* arguments) {
  const auto given = positional<11>(arguments, "control_step_workspace");
  const auto number = [&](size_t i, const char* name) { return integer(name, given[i]); };
  return PyLong_FromLongLong(control_step_bytes(
      integers("encoder", given[0]), integers("sizes", given[1]), number(2, "isa"),
      number(3, "precision"), number(4, "horizon"), number(5, "batch"), number(6, "candidates"),
      number(7, "topk"), number(8, "keep"), number(9, "mixed"), number(10, "threads")));
}

PyObject* set_isa(PyObject* arguments) {
  const auto [name] = positional<1>(arguments, "set_isa");
  isa_in_use = name == Py_None ? default_isa() : isa_called(text("isa", name));
  Py_RETURN_NONE;
}

PyObject* philox(PyObject* arguments) {
  const auto [counter, key] = positional<2>(arguments, "philox4x32");
  const auto [c0, c1, c2, c3] = words<4>("counter", counter);
  const auto [key0, key1] = words<2>("key", key);
  uint32_t word[4] = {c0, c1, c2, c3};
  philox4x32(word, key0, key1);
  return Py_BuildValue("[IIII]", word[0], word[1], word[2], word[3]);
}

PyObject* rank(PyObject* arguments) {
  const auto [value, index] = positional<2>(arguments, "rank_key");
  if (!PyFloat_Check(value)) wrong_type("value", "a float", value);
  const float rounded = static_cast<float>(PyFloat_AsDouble(value));
  return PyLong_FromUnsignedLongLong(
      rank_key(std::bit_cast<uint32_t>(rounded), word("index", index)));
}

PyObject* uniform_of(PyObject* arguments) {
  const auto [bits] = positional<1>(arguments, "uniform");
  return PyFloat_FromDouble(uniform(word("word", bits)));
}

PyMethodDef methods[] = {
    {"build_info", method<build_info>, METH_NOARGS,
     "What this extension was built with and runs on."},
    {"isa", method<isa>, METH_NOARGS, "Index of the instruction set in use."},
    {"isa_name", method<isa_name>, METH_NOARGS, "Name of the instruction set in use."},
    {"precisions", method<precisions>, METH_NOARGS,
     "Which precisions the instruction set in use has, and the set whose kernels compute each."},
    {"packed_bytes", method<packed_bytes>, METH_VARARGS,
     "How long the result of pack_weights is; without an instruction set, on CUDA devices."},
    {"packed_filter_bytes", method<packed_filter_bytes>, METH_VARARGS,
     "How long the result of pack_filter is."},
    {"control_step_workspace", method<control_step_workspace>, METH_VARARGS,
     "How many bytes of workspace control_step needs."},
    {"set_isa", method<set_isa>, METH_VARARGS,
     "Uses one instruction set by name, or with None the widest (capped by PLANET_CPU_ISA)."},
    {"philox4x32", method<philox>, METH_VARARGS, "Philox4x32-10, four words."},
    {"rank_key", method<rank>, METH_VARARGS, "The key by which returns are ranked."},
    {"uniform", method<uniform_of>, METH_VARARGS, "((word >> 8) + 0.5) * 2**-24."},
    {},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_C",
    "The compiled planner: build facts and the instruction set; the ops are torch.ops.planet.",
    -1,  // one instruction set in use for the whole process
    methods,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace
}  // namespace planet

PyMODINIT_FUNC PyInit__C() {
  return planet::guarded([] {
    planet::isa_in_use = planet::default_isa();
    return PyModule_Create(&planet::definition);
  });
}
