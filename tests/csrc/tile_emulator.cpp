#include "tile_emulator.h"

#include <immintrin.h>
#include <string.h>

#include <atomic>
#include <string>

#include "isa.h"
#include "tile_instruction.h"

namespace planet::tests {
namespace {

constexpr int kTiles = 8, kRows = 16, kColumns = 16;  // a column: 4 bytes

// The 64 bytes of ldtilecfg and sttilecfg.
struct Configuration {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Configuration) == 64);

struct alignas(64) Tile {
  uint32_t row[kRows][kColumns];
};

struct State {
  Configuration shape;
  Tile tile[kTiles];
  bool written[kTiles];
};

// All zero, so that a handler need not construct it.
thread_local constinit State state = {};

std::atomic<int64_t> counts[kTileOps];
std::atomic<int64_t> unwritten_reads, configured_twice, split;
std::atomic<int> installed;  // how many live, one within the other
struct sigaction handler_before;

int rows_of(int tile) {
  return state.shape.rows[tile];
}

int bytes_of(int tile) {
  return state.shape.row_bytes[tile];
}

void check_tile(TileOp op, int tile) {
  require(state.shape.palette == 1, op, "tiles are not configured");
  require(tile < kTiles, op, "no such tile");
  require(rows_of(tile) > 0, op, "the tile has no rows");
  require(bytes_of(tile) % 4 == 0, op, "the bytes of a row are no multiple of four");
}

void read(int tile) {
  if (!state.written[tile]) ++unwritten_reads;
}

void configure(const void* from) {
  const TileOp op = TileOp::kConfigure;
  Configuration shape;
  memcpy(&shape, from, sizeof shape);
  require(shape.palette <= 1, op, "no such palette");
  if (shape.palette == 1) {
    for (const uint8_t x : shape.reserved) require(x == 0, op, "a reserved byte is not 0");
    require(shape.start_row == 0, op, "start_row is not 0, which is not emulated");
    for (int t = 0; t < 16; ++t) {
      const int bytes = shape.row_bytes[t], rows = shape.rows[t];
      if (t >= kTiles) require(bytes == 0 && rows == 0, op, "more than eight tiles");
      require(bytes <= 4 * kColumns, op, "more than 64 bytes in a row");
      require(rows <= kRows, op, "more than 16 rows");
      require((bytes == 0) == (rows == 0), op, "rows without bytes, or bytes without rows");
    }
    if (state.shape.palette == 1) ++configured_twice;
  } else {
    shape = {};
  }
  state = {};
  state.shape = shape;
}

// Row by row between memory and a tile.
void load(const TileInstruction& in) {
  const int tile = in.first;
  check_tile(in.op, tile);
  Tile loaded = {};
  for (int r = 0; r < rows_of(tile); ++r) {
    const uint64_t at = in.address + static_cast<uint64_t>(r) * in.stride;
    memcpy(loaded.row[r], reinterpret_cast<const void*>(at), static_cast<size_t>(bytes_of(tile)));
    if (at % 64 + static_cast<uint64_t>(bytes_of(tile)) > 64) ++split;
  }
  state.tile[tile] = loaded;
  state.written[tile] = true;
}

void store(const TileInstruction& in) {
  const int tile = in.first;
  check_tile(in.op, tile);
  read(tile);
  for (int r = 0; r < rows_of(tile); ++r) {
    const uint64_t at = in.address + static_cast<uint64_t>(r) * in.stride;
    memcpy(reinterpret_cast<void*>(at), state.tile[tile].row[r],
           static_cast<size_t>(bytes_of(tile)));
    if (at % 64 + static_cast<uint64_t>(bytes_of(tile)) > 64) ++split;
  }
}

float widened(uint32_t bits) {
  float out;
  memcpy(&out, &bits, sizeof out);
  return out;
}

// Rounding and denormals are those of MXCSR; the compiler must not move this before they are set.
__attribute__((noinline, target("avx512f,fma"))) void multiply_row(float* c, const uint32_t* a,
                                                                   const Tile& b, int pairs) {
  float even[kColumns] = {}, odd[kColumns] = {};
  for (int k = 0; k < pairs; ++k) {
    const float left_even = widened(a[k] << 16), left_odd = widened(a[k] & 0xFFFF0000u);
    for (int n = 0; n < kColumns; ++n) {
      const uint32_t right = b.row[k][n];
      even[n] = __builtin_fmaf(left_even, widened(right << 16), even[n]);
      odd[n] = __builtin_fmaf(left_odd, widened(right & 0xFFFF0000u), odd[n]);
    }
  }
  for (int n = 0; n < kColumns; ++n) c[n] = c[n] + (even[n] + odd[n]);
}

void multiply(const TileInstruction& in) {
  const int c = in.first, a = in.second, b = in.third;
  require(c != a && c != b && a != b, in.op, "the same tile twice");
  for (const int tile : {c, a, b}) check_tile(in.op, tile);
  require(rows_of(c) == rows_of(a), in.op, "rows of the sum are not those of the first factor");
  require(bytes_of(c) == bytes_of(b), in.op, "columns of the sum are not those of the second");
  require(bytes_of(a) == 4 * rows_of(b), in.op, "the factors' shapes do not fit");
  for (const int tile : {c, a, b}) read(tile);
  Tile sum = {};
  for (int m = 0; m < rows_of(c); ++m) {
    float row[kColumns];
    memcpy(row, state.tile[c].row[m], sizeof row);
    multiply_row(row, state.tile[a].row[m], state.tile[b], rows_of(b));
    memcpy(sum.row[m], row, static_cast<size_t>(bytes_of(c)));
  }
  state.tile[c] = sum;
  state.written[c] = true;
}

void carry_out(const TileInstruction& in) {
  switch (in.op) {
    case TileOp::kConfigure:
      return configure(reinterpret_cast<const void*>(in.address));
    case TileOp::kStoreConfig:
      memcpy(reinterpret_cast<void*>(in.address), &state.shape, sizeof state.shape);
      return;
    case TileOp::kRelease:
      state = {};
      return;
    case TileOp::kZero:
      check_tile(in.op, in.first);
      state.tile[in.first] = {};
      state.written[in.first] = true;
      return;
    case TileOp::kLoad:
    case TileOp::kLoadOnce:
      return load(in);
    case TileOp::kStore:
      return store(in);
    case TileOp::kMultiply:
      return multiply(in);
  }
}

// What the handler changes of the vector registers and MXCSR ends with it.
void on_illegal_instruction(int, siginfo_t*, void* context) {
  ucontext_t& interrupted = *static_cast<ucontext_t*>(context);
  TileInstruction in;
  if (!decode(interrupted, in)) {
    sigaction(SIGILL, &handler_before, nullptr);  // it is executed again, and theirs
    return;
  }
  _mm_setcsr(0x9FC0);  // to nearest even, denormals are zero, no exceptions
  carry_out(in);
  ++counts[static_cast<int>(in.op)];
  interrupted.uc_mcontext.gregs[REG_RIP] += in.length;
}

}  // namespace

bool has_tiles() {
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (std::string(cpu::isa_name(isa)) == "amx") return cpu::isa_supported(isa);
  }
  return false;
}

bool tiles_in_use() {
  if (installed) return state.shape.palette != 0;
  if (!has_tiles()) return false;
  uint32_t low, high;  // which registers are not as they were at the start
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  return (low & 0x60000) != 0;
}

TileInstructions::TileInstructions()
    : emulated_(!has_tiles() && __builtin_cpu_supports("avx512f")) {
  if (!emulated_) return;
  for (auto* count : {&unwritten_reads, &configured_twice, &split}) *count = 0;
  for (auto& count : counts) count = 0;
  struct sigaction action = {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &previous_);
  if (installed++ == 0) handler_before = previous_;
}

TileInstructions::~TileInstructions() {
  if (!emulated_) return;
  sigaction(SIGILL, &previous_, nullptr);
  --installed;
}

bool TileInstructions::available() const {
  return emulated_ || has_tiles();
}

int64_t TileInstructions::count(TileOp op) const {
  return counts[static_cast<int>(op)];
}

int64_t TileInstructions::unwritten() const {
  return unwritten_reads;
}

int64_t TileInstructions::reconfigured() const {
  return configured_twice;
}

int64_t TileInstructions::split_rows() const {
  return split;
}

}  // namespace planet::tests
