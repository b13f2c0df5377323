#include "weight_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cfloat>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "model_tensors.h"

namespace planet {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's bytes are used as they are");

constexpr char kMagic[] = "PLANETWF";
constexpr uint32_t kVersion = 2;
constexpr size_t kHeaderBytes = 128, kAlignment = 64, kChecksumBytes = 4;
constexpr uint32_t kMostSettings = 65536;

// The fields of the header, in the file's layout.
struct Header {
  char magic[8];
  uint32_t version, transition;
  uint64_t length;
  double min_stddev;
  uint32_t activation, belief, state, action, hidden, reward_layers;
  uint32_t reward_widths[kMaxRewardLayers];
  uint32_t stddev, delta, settings_bytes;
  uint32_t encoder_layers, image_size, bit_depth, zeros[8];
};
static_assert(sizeof(Header) == kHeaderBytes && kMaxRewardLayers == 4);

__attribute__((format(printf, 1, 2))) std::string text(const char* format, ...) {
  char out[200];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(out, sizeof out, format, arguments);
  va_end(arguments);
  return out;
}

uint32_t crc32(const unsigned char* data, size_t size) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0u);
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; ++i) crc = crc >> 8 ^ kTable[(crc ^ data[i]) & 0xFFu];
  return ~crc;
}

// Magic, version and length: what can be said before the rest is read. `data` holds the first
// min(size, kHeaderBytes) bytes or more of a file of `size` bytes.
std::string check_start(const unsigned char* data, uint64_t size, Header& header) {
  const auto whole = static_cast<unsigned long long>(size);
  if (size < sizeof kMagic - 1 || std::memcmp(data, kMagic, sizeof kMagic - 1) != 0) {
    return text("magic: expected %s, got no weight file (%llu bytes)", kMagic, whole);
  }
  if (size >= 12) std::memcpy(&header.version, data + 8, 4);
  if (size >= 12 && header.version > kVersion) {
    return text("version: written by a newer planet (format %u, this one reads up to %u)",
                header.version, kVersion);
  }
  if (size < kHeaderBytes + kChecksumBytes) {
    return text("length: expected at least %zu bytes, got %llu: the file is truncated",
                kHeaderBytes + kChecksumBytes, whole);
  }
  std::memcpy(&header, data, sizeof header);
  if (header.version == 0) return text("version: expected 1 to %u, got 0", kVersion);
  if (header.length != size) {
    return text("length: expected %llu bytes, got %llu: the file is %s",
                static_cast<unsigned long long>(header.length), whole,
                size < header.length ? "truncated" : "followed by other data");
  }
  return {};
}

std::string check_range(const char* name, uint32_t value, uint32_t least, uint32_t most) {
  if (value >= least && value <= most) return {};
  if (least == most) return text("%s: expected %u, got %u", name, least, value);
  return text("%s: expected %u to %u, got %u", name, least, most, value);
}

// Checks the fields that format 1 does not have.
std::string check_additions(const Header& header) {
  const uint32_t image = header.image_size;
  std::string error;
  const auto check = [&](const char* name, uint32_t value, uint32_t least, uint32_t most) {
    if (header.version == 1) least = most = 0;
    if (error.empty()) error = check_range(name, value, least, most);
  };
  check("stddev", header.stddev, 0, 1);
  check("delta", header.delta, 0, 1);
  if (error.empty() && header.delta == 1) {
    return "delta: residual transitions are not available yet; expected 0, got 1";
  }
  check("settings_bytes", header.settings_bytes, 0, kMostSettings);
  check("image_size", image, 0, kMaxImageSize);
  if (error.empty() && image > 0 && header.transition == 1) {
    return text("image_size: the filter of an ssm is not available yet; expected 0, got %u", image);
  }
  check("encoder_layers", header.encoder_layers, 0, image > 0 ? kMaxEncoderLayers : 0);
  check("bit_depth", header.bit_depth, image > 0 ? 1 : 0, image > 0 ? 8 : 0);
  for (const uint32_t zero : header.zeros) {
    if (error.empty() && zero != 0) error = "header: expected zeros behind the last field";
  }
  return error;
}

std::string check_sizes(const Header& header) {
  const uint32_t transition = header.transition, layers = header.reward_layers;
  const bool ssm = transition == 1;
  const struct {
    const char* name;
    uint32_t value, least, most;
  } fields[] = {
      {"transition", transition, 0, 1},
      {"activation", header.activation, 0, 1},
      {"belief", header.belief, ssm ? 0u : 1u, ssm ? 0u : kMaxSize},
      {"state", header.state, 1, kMaxSize},
      {"action", header.action, 1, kMaxSize},
      {"hidden", header.hidden, 1, kMaxSize},
      {"reward_layers", layers, 1, kMaxRewardLayers},
  };
  for (const auto& field : fields) {
    std::string error = check_range(field.name, field.value, field.least, field.most);
    if (!error.empty()) return error;
  }
  for (uint32_t i = 0; i < kMaxRewardLayers; ++i) {
    // The last one: the reward, and from format 2 on the logit of going on.
    const uint32_t rows = std::min(header.version, 2u);
    const uint32_t most = i + 1 < layers ? kMaxSize : i + 1 == layers ? rows : 0;
    const std::string name = text("reward_widths[%u]", i);
    std::string error = check_range(name.c_str(), header.reward_widths[i], most == 0 ? 0 : 1, most);
    if (!error.empty()) return error;
  }
  if (!(header.min_stddev >= 0.0 && header.min_stddev <= FLT_MAX)) {
    return text("min_stddev: expected a finite float32 value >= 0, got %.9g",
                std::isnan(header.min_stddev) ? double{NAN} : header.min_stddev);
  }
  return check_additions(header);
}

ModelSizes sizes_of(const Header& header) {
  const auto integer = [](uint32_t value) { return static_cast<int>(value); };
  ModelSizes out{};
  out.belief = integer(header.belief);
  out.state = integer(header.state);
  out.action = integer(header.action);
  out.hidden = integer(header.hidden);
  out.reward_layers = integer(header.reward_layers);
  for (int i = 0; i < kMaxRewardLayers; ++i) {
    out.reward_widths[i] = integer(header.reward_widths[i]);
  }
  out.elu = header.activation == 1;
  out.clamp_stddev = header.stddev == 1;
  return out;
}

uint64_t aligned(uint64_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

// Reads the table of the encoder's layers behind `at`, and moves `at` behind it.
std::string read_encoder(const Header& header, const unsigned char* bytes, uint64_t size,
                         uint64_t& at, EncoderSizes& out) {
  if (header.image_size == 0) return {};
  out.image_size = static_cast<int>(header.image_size);
  out.bit_depth = static_cast<int>(header.bit_depth);
  uint32_t table[kMaxEncoderLayers][3];
  const uint64_t start = aligned(at), length = header.encoder_layers * sizeof table[0];
  at = start + length;
  if (at + kChecksumBytes > size) {
    return text("length: expected at least %llu bytes for the sizes in the header, got %llu",
                static_cast<unsigned long long>(at + kChecksumBytes),
                static_cast<unsigned long long>(size));
  }
  std::memcpy(table, bytes + start, length);
  for (uint32_t i = 0; i < header.encoder_layers; ++i) {
    const auto [channels, kernel, stride] = table[i];
    const uint32_t side = static_cast<uint32_t>(encoder_side(out, static_cast<int>(i) - 1));
    std::string error;
    const auto check = [&](const char* name, uint32_t value, uint32_t most) {
      const std::string indexed = text("%s[%u]", name, i);
      if (error.empty()) error = check_range(indexed.c_str(), value, 1, most);
    };
    check("encoder_channels", channels, kMaxChannels);
    check("encoder_kernels", kernel, side);
    check("encoder_strides", stride, INT32_MAX);
    if (!error.empty()) return error;
    out.layer[i] = {static_cast<int>(channels), static_cast<int>(kernel), static_cast<int>(stride)};
    out.layers = static_cast<int>(i) + 1;
  }
  return {};
}

// One tensor of the file and where its address goes.
struct Tensor {
  std::string name;
  uint64_t count;
  const float** pointer;
};

// All tensors in the order of the file. Counts cannot overflow: with the sizes that were checked,
// the largest is 2^44.
std::vector<Tensor> list_tensors(WeightView& view) {
  std::vector<Tensor> out;
  const auto add = [&out](const char* name, int layer, uint64_t count, const float*& pointer) {
    out.push_back({layer < 0 ? name : text("%s[%d]", name, layer), count, &pointer});
  };
  each_tensor(view.sizes, view.weights,
              [&](const char* name, int layer, int rows, int columns, const float*& pointer) {
                add(name, layer, static_cast<uint64_t>(rows) * std::max(columns, 1), pointer);
              });
  if (view.encoder.image_size == 0) return out;
  each_filter_tensor(view.sizes, view.encoder, view.filter,
                     [&](const char* name, int layer, std::initializer_list<int64_t> shape,
                         const float*& pointer) {
                       uint64_t count = 1;
                       for (const int64_t length : shape) count *= static_cast<uint64_t>(length);
                       add(name, layer, count, pointer);
                     });
  return out;
}

std::string check_finite(const Tensor& tensor) {
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < tensor.count; ++i) wrong += !std::isfinite((*tensor.pointer)[i]);
  if (wrong == 0) return {};
  return text("%s: expected finite values, got %llu NaN or infinite", tensor.name.c_str(),
              static_cast<unsigned long long>(wrong));
}

}  // namespace

std::string view_weights(const void* data, size_t size, WeightView& view) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  if (reinterpret_cast<uintptr_t>(data) % alignof(float) != 0) {
    return "data: expected an address aligned to 4 bytes";
  }
  Header header{};
  std::string error = check_start(bytes, size, header);
  if (!error.empty()) return error;
  uint32_t stored;
  std::memcpy(&stored, bytes + size - kChecksumBytes, sizeof stored);
  const uint32_t computed = crc32(bytes, size - kChecksumBytes);
  if (stored != computed) {
    return text("checksum: expected %08x, got %08x: the file is damaged", stored, computed);
  }
  error = check_sizes(header);
  if (!error.empty()) return error;

  WeightView out{};
  out.sizes = sizes_of(header);
  uint64_t first = kHeaderBytes + header.settings_bytes;
  error = read_encoder(header, bytes, size, first, out.encoder);
  if (!error.empty()) return error;
  const std::vector<Tensor> tensors = list_tensors(out);
  uint64_t at = first;
  for (const Tensor& tensor : tensors) at = aligned(at) + tensor.count * sizeof(float);
  if (at + kChecksumBytes != size) {
    return text("length: expected %llu bytes for the sizes in the header, got %zu",
                static_cast<unsigned long long>(at + kChecksumBytes), size);
  }
  if (header.settings_bytes > 0) {
    const auto* settings = reinterpret_cast<const char*>(bytes) + kHeaderBytes;
    error = read_settings(settings, header.settings_bytes, out.settings);
    if (!error.empty()) return error;
  }
  at = first;
  for (const Tensor& tensor : tensors) {
    at = aligned(at);
    *tensor.pointer = reinterpret_cast<const float*>(bytes + at);
    at += tensor.count * sizeof(float);
    error = check_finite(tensor);
    if (!error.empty()) return error;
  }
  out.min_stddev = static_cast<float>(header.min_stddev);
  view = std::move(out);
  return {};
}

std::string WeightFile::read(const char* path) {
  const auto failed = [&](const std::string& reason) { return path + (": " + reason); };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "rb"), std::fclose);
  if (file == nullptr) return failed(std::strerror(errno));
  unsigned char start[kHeaderBytes] = {};
  const size_t got = std::fread(start, 1, sizeof start, file.get());
  if (std::ferror(file.get())) return failed(std::strerror(errno));
  // The whole length, before memory is taken for it.
  if (std::fseek(file.get(), 0, SEEK_END) != 0) return failed("expected a file, not a stream");
  const long end = std::ftell(file.get());
  const size_t size = end < 0 ? got : static_cast<size_t>(end);
  Header header{};
  std::string error = check_start(start, size, header);
  if (!error.empty()) return failed(error);
  std::unique_ptr<float[]> data(new (std::nothrow) float[(size + 3) / 4]);
  if (data == nullptr) return failed(text("expected %zu bytes of memory, got none", size));
  std::rewind(file.get());
  if (std::fread(data.get(), 1, size, file.get()) != size) return failed("cannot be read");
  WeightView view{};
  error = view_weights(data.get(), size, view);
  if (!error.empty()) return failed(error);
  data_ = std::move(data);
  view_ = std::move(view);
  return {};
}

}  // namespace planet
