// Checks of an op's arguments that memory safety needs. Python checks first and explains more;
// these hold for whoever calls torch.ops.planet directly. Every message names the argument.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>

namespace planet {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  throw std::runtime_error(out.str());
}

template <class List>
std::string list_text(const List& values) {
  std::ostringstream out;
  out << "[";
  const char* separator = "";
  for (const int64_t value : values) {
    out << separator << value;
    separator = ", ";
  }
  out << "]";
  return out.str();
}

inline const char* type_name(ScalarType type) {
  if (type == ScalarType::Byte) return "uint8";
  return type == ScalarType::Long ? "int64" : "float32";
}

// Where an op works: on the device of one of its tensors, and all others must be there too.
struct Place {
  bool cuda = false;
  int32_t index = 0;

  Place() = default;  // the CPU
  explicit Place(const Tensor& tensor)
      : cuda(tensor.is_cuda()), index(cuda ? tensor.get_device_index() : 0) {}

  bool operator==(const Place&) const = default;

  std::string text() const { return cuda ? "cuda:" + std::to_string(index) : "cpu"; }
};

// The data of a dense contiguous tensor at that place.
inline void* data_of(const Tensor& tensor, const char* name, ScalarType type, Place place) {
  if (tensor.scalar_type() != type) {
    fail(name, ": expected dtype ", type_name(type), ", got ScalarType ",
         static_cast<int>(tensor.scalar_type()));
  }
  const bool known = tensor.is_cpu() || tensor.is_cuda();
  if (!known || Place(tensor) != place) {
    fail(name, ": expected a tensor on ", place.text(), ", got ",
         known ? Place(tensor).text() : "another device");
  }
  if (!tensor.is_contiguous()) {
    fail(name, ": expected a contiguous tensor, got strides ", list_text(tensor.strides()));
  }
  return tensor.mutable_data_ptr();
}

inline void check_shape(const Tensor& tensor, const char* name,
                        std::initializer_list<int64_t> shape) {
  const auto sizes = tensor.sizes();
  bool same = sizes.size() == shape.size();
  for (size_t i = 0; same && i < shape.size(); ++i) same = sizes[i] == shape.begin()[i];
  if (!same) fail(name, ": expected shape ", list_text(shape), ", got ", list_text(sizes));
}

inline float* floats(const Tensor& tensor, const char* name, std::initializer_list<int64_t> shape,
                     Place place) {
  check_shape(tensor, name, shape);
  return static_cast<float*>(data_of(tensor, name, ScalarType::Float, place));
}

inline int64_t* integers(const Tensor& tensor, const char* name,
                         std::initializer_list<int64_t> shape, Place place) {
  check_shape(tensor, name, shape);
  return static_cast<int64_t*>(data_of(tensor, name, ScalarType::Long, place));
}

// A tensor's size i after checking its number of dimensions and that no size is 0.
inline void check_dims(const Tensor& tensor, const char* name, int64_t dims, const char* layout) {
  const auto sizes = tensor.sizes();
  bool ok = static_cast<int64_t>(sizes.size()) == dims;
  for (size_t i = 0; ok && i < sizes.size(); ++i) ok = sizes[i] >= 1;
  if (!ok) fail(name, ": expected sizes >= 1 in ", layout, ", got ", list_text(sizes));
}

inline void check_range(const char* name, int64_t value, int64_t first, int64_t last) {
  if (value < first || value > last) {
    fail(name, ": expected a value in [", first, ", ", last, "], got ", value);
  }
}

}  // namespace planet
