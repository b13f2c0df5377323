// Python objects in and out of `planet._C`. Only CPython's limited API is used (Py_LIMITED_API in
// CMakeLists.txt), so that one binary serves every version of Python.
#pragma once

#include <Python.h>  // before the standard library

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace planet {

// Thrown where an exception of Python is set.
struct Raised {};

// Of what `body` throws an exception of Python is set.
template <class Body>
PyObject* guarded(const Body& body) noexcept {
  try {
    return body();
  } catch (const Raised&) {
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// As a PyMethodDef has it.
template <PyObject* (*function)(PyObject* arguments)>
PyObject* method(PyObject*, PyObject* arguments) {
  return guarded([arguments] { return function(arguments); });
}

// A reference of our own, given back unless it is released.
class Owned {
 public:
  explicit Owned(PyObject* object) : object_(object) {
    if (object == nullptr) throw Raised();
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { Py_XDECREF(object_); }

  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }

 private:
  PyObject* object_;
};

// ---- results: new references ----

inline PyObject* to_object(bool value) {
  return PyBool_FromLong(value);
}

inline PyObject* to_object(int value) {
  return PyLong_FromLong(value);
}

inline PyObject* to_object(const char* value) {
  return PyUnicode_FromString(value);
}

inline PyObject* to_object(const std::vector<std::string>& values) {
  Owned list(PyList_New(0));
  for (const std::string& value : values) {
    const Owned item(to_object(value.c_str()));
    if (PyList_Append(list.get(), item.get()) != 0) throw Raised();
  }
  return list.release();
}

class Dict {
 public:
  template <class Value>
  void set(const char* key, const Value& value) {
    set(key, Owned(to_object(value)));
  }
  void set(const char* key, const Owned& value) {
    if (PyDict_SetItemString(dict_.get(), key, value.get()) != 0) throw Raised();
  }
  PyObject* release() { return dict_.release(); }

 private:
  Owned dict_{PyDict_New()};
};

// ---- arguments: borrowed references ----

// `count` positional arguments.
template <size_t count>
std::array<PyObject*, count> positional(PyObject* arguments, const char* function) {
  std::array<PyObject*, count> found;
  if (PyTuple_Size(arguments) != count) {
    PyErr_Format(PyExc_TypeError, "%s: expected %zu arguments, got %zd", function, count,
                 PyTuple_Size(arguments));
    throw Raised();
  }
  for (size_t i = 0; i < count; ++i) found[i] = PyTuple_GetItem(arguments, i);
  return found;
}

[[noreturn]] inline void wrong_type(const char* name, const char* expected, PyObject* object) {
  PyErr_Format(PyExc_TypeError, "%s: expected %s, got %R", name, expected, Py_TYPE(object));
  throw Raised();
}

inline int64_t integer(const char* name, PyObject* object, int64_t first = INT64_MIN,
                       int64_t last = INT64_MAX) {
  if (!PyIndex_Check(object)) wrong_type(name, "an integer", object);
  const Owned exact(PyNumber_Index(object));
  int overflow = 0;
  const int64_t value = PyLong_AsLongLongAndOverflow(exact.get(), &overflow);
  if (overflow != 0) {  // its digits may be thousands, and then no text in Python
    const Owned bits(PyObject_CallMethod(exact.get(), "bit_length", nullptr));
    PyErr_Format(PyExc_ValueError,
                 "%s: expected a value in [%lld, %lld], got an integer of %S bits", name,
                 static_cast<long long>(first), static_cast<long long>(last), bits.get());
    throw Raised();
  }
  if (value < first || value > last) {
    PyErr_Format(PyExc_ValueError, "%s: expected a value in [%lld, %lld], got %lld", name,
                 static_cast<long long>(first), static_cast<long long>(last),
                 static_cast<long long>(value));
    throw Raised();
  }
  return value;
}

inline std::vector<int64_t> integers(const char* name, PyObject* object, int64_t first = INT64_MIN,
                                     int64_t last = INT64_MAX) {
  if (!PyList_Check(object) && !PyTuple_Check(object)) {
    wrong_type(name, "a list of integers", object);
  }
  const Owned items(PySequence_Tuple(object));  // which an item's own code cannot change
  std::vector<int64_t> values;
  for (Py_ssize_t i = 0; i < PyTuple_Size(items.get()); ++i) {
    values.push_back(integer(name, PyTuple_GetItem(items.get(), i), first, last));
  }
  return values;
}

inline std::string text(const char* name, PyObject* object) {
  if (!PyUnicode_Check(object)) wrong_type(name, "a string", object);
  Py_ssize_t size = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(object, &size);
  if (bytes == nullptr) throw Raised();
  return {bytes, static_cast<size_t>(size)};
}

inline uint32_t word(const char* name, PyObject* object) {
  return static_cast<uint32_t>(integer(name, object, 0, UINT32_MAX));
}

template <size_t count>
std::array<uint32_t, count> words(const char* name, PyObject* object) {
  const std::vector<int64_t> values = integers(name, object, 0, UINT32_MAX);
  if (values.size() != count) {
    PyErr_Format(PyExc_ValueError, "%s: expected %zu integers, got %zu", name, count,
                 values.size());
    throw Raised();
  }
  std::array<uint32_t, count> result;
  for (size_t i = 0; i < count; ++i) result[i] = static_cast<uint32_t>(values[i]);
  return result;
}

}  // namespace planet
