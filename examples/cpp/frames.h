// What the camera of the example saw: a recorded episode, or pictures made up.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "options.h"

inline std::vector<uint8_t> read_bytes(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) fail(path + ": cannot be opened");
  std::vector<uint8_t> bytes, part(1 << 16);
  while (const size_t got = std::fread(part.data(), 1, part.size(), file)) {
    bytes.insert(bytes.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(got));
  }
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) fail(path + ": cannot be read");
  return bytes;
}

// Bytes of the header, if it is a file of numpy.save; its array must be uint8 [N, size, size, 3].
inline size_t check_numpy(const std::string& path, const std::vector<uint8_t>& bytes, int size) {
  constexpr char kMagic[] = "\x93NUMPY\x01";
  if (bytes.size() < 10 || std::memcmp(bytes.data(), kMagic, sizeof kMagic - 1) != 0) return 0;
  const size_t end = size_t{10} + bytes[8] + 256u * bytes[9];
  const std::string text(bytes.begin() + 10, bytes.begin() + std::min(end, bytes.size()));
  const std::string side = std::to_string(size), image = ", " + side + ", " + side + ", 3)";
  if (text.find("'|u1'") == text.npos || text.find("'fortran_order': False") == text.npos ||
      text.find(image) == text.npos) {
    fail(path + ": expected frames, uint8 [N" + image.substr(0, image.size() - 1) + "], got " +
         text.substr(0, text.find('\n')));
  }
  if (end > bytes.size()) fail(path + ": the file is truncated");
  return end;
}

// The frames of an episode one after the other, uint8 [size, size, 3]: from a file of numpy.save,
// or raw. Without a file, a pattern that moves.
class Frames {
 public:
  Frames(const std::string& path, int size) : frame_(size_t{3} * size * size) {
    if (path.empty()) {
      for (size_t i = 0; i < frame_ + 256; ++i) bytes_.push_back(static_cast<uint8_t>(i));
      return;
    }
    bytes_ = read_bytes(path);
    start_ = check_numpy(path, bytes_, size);
    const size_t got = bytes_.size() - start_;
    if (got == 0 || got % frame_ != 0) {
      fail(path + ": expected frames of " + std::to_string(size) + " x " + std::to_string(size) +
           " pixels, a multiple of " + std::to_string(frame_) + " bytes, got " +
           std::to_string(got));
    }
    count_ = got / frame_;
  }

  // How many there are; 0: there is no end.
  size_t count() const { return count_; }

  const uint8_t* at(size_t step) const {
    return bytes_.data() + (count_ == 0 ? 3 * step % 256 : start_ + step % count_ * frame_);
  }

 private:
  size_t frame_, start_ = 0, count_ = 0;  // bytes, bytes, frames
  std::vector<uint8_t> bytes_;
};
