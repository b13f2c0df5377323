// Arrays whose surroundings tell when somebody leaves them.
#pragma once

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "harness.h"

namespace planet::tests {

// `count` values that end at a page without access, and begin close behind one: reading or writing
// past the end stops the program, and so does leaving by much at the front. What lies between
// (slack before the array, and the rest that a larger alignment leaves behind it) holds a pattern
// that check() compares. New arrays hold bytes 0xFF: NaN, whatever the type.
template <class T>
class Fenced {
 public:
  explicit Fenced(int64_t count, size_t alignment = alignof(T)) : count_(count) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    inner_ = (bytes + alignment + page - 1) / page * page;
    mapped_ = inner_ + 2 * page;
    void* base = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) fail("mmap");
    base_ = static_cast<unsigned char*>(base);
    first_ = base_ + page;
    if (mprotect(first_, inner_, PROT_READ | PROT_WRITE) != 0) fail("mprotect");
    memset(first_, kPattern, inner_);
    const uintptr_t end = reinterpret_cast<uintptr_t>(first_) + inner_;
    // The least aligned address that the alignment allows: a callee must not count on more.
    uintptr_t at = (end - bytes) / alignment * alignment;
    if (at % (2 * alignment) == 0 && at - alignment >= reinterpret_cast<uintptr_t>(first_) &&
        alignment > alignof(T)) {
      at -= alignment;
    }
    data_ = reinterpret_cast<T*>(at);
    memset(static_cast<void*>(data_), 0xFF, bytes);
  }

  explicit Fenced(const std::vector<T>& values, size_t alignment = alignof(T))
      : Fenced(static_cast<int64_t>(values.size()), alignment) {
    if (!values.empty()) memcpy(data_, values.data(), values.size() * sizeof(T));
  }

  ~Fenced() {
    check();
    munmap(base_, mapped_);
  }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::vector<T> values() const { return {data_, data_ + count_}; }

  // The pattern around the array is as it was.
  void check() const {
    const unsigned char* begin = reinterpret_cast<const unsigned char*>(data_);
    const unsigned char* end = begin + static_cast<size_t>(count_) * sizeof(T);
    if (!is_pattern(first_, begin) || !is_pattern(end, first_ + inner_)) {
      report_failure(__FILE__, __LINE__, "written beside an array of " + show(count_) + " values");
    }
  }

  // Bit for bit.
  bool equals(const std::vector<T>& values) const {
    return static_cast<int64_t>(values.size()) == count_ &&
           (count_ == 0 || memcmp(data_, values.data(), values.size() * sizeof(T)) == 0);
  }

 private:
  static constexpr unsigned char kPattern = 0xA5;

  static bool is_pattern(const unsigned char* begin, const unsigned char* end) {
    const size_t count = static_cast<size_t>(end - begin);
    return count == 0 || (*begin == kPattern && memcmp(begin, begin + 1, count - 1) == 0);
  }

  [[noreturn]] static void fail(const char* what) {
    std::perror(what);
    std::abort();
  }

  int64_t count_;
  size_t inner_, mapped_;
  unsigned char* base_;
  unsigned char* first_;
  T* data_;
};

// Bit for bit; NaN equals itself.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace planet::tests
