#include "tile_instruction.h"

#include <string.h>
#include <unistd.h>

#include <cstdlib>
#include <initializer_list>

namespace planet::tests {
namespace {

constexpr const char* kNames[kTileOps] = {"ldtilecfg", "sttilecfg",   "tilerelease", "tilezero",
                                          "tileloadd", "tileloaddt1", "tilestored",  "tdpbf16ps"};

uint64_t general_register(const ucontext_t& context, int number) {
  constexpr int kPlace[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return static_cast<uint64_t>(context.uc_mcontext.gregs[kPlace[number]]);
}

// Which instruction; false if it is none of tiles.
bool find_op(int prefix, int opcode, int modrm, TileOp& op) {
  struct Row {
    TileOp op;
    int opcode, prefix;  // prefixes: none, 66, F3, F2
    bool memory;
    int mask, value;  // of ModRM
  };
  constexpr Row kTable[] = {{TileOp::kConfigure, 0x49, 0, true, 0x38, 0},
                            {TileOp::kStoreConfig, 0x49, 1, true, 0x38, 0},
                            {TileOp::kRelease, 0x49, 0, false, 0xFF, 0xC0},
                            {TileOp::kZero, 0x49, 3, false, 7, 0},
                            {TileOp::kLoad, 0x4B, 3, true, 0, 0},
                            {TileOp::kLoadOnce, 0x4B, 1, true, 0, 0},
                            {TileOp::kStore, 0x4B, 2, true, 0, 0},
                            {TileOp::kMultiply, 0x5C, 2, false, 0, 0}};
  for (const Row& row : kTable) {
    op = row.op;
    if (row.opcode == opcode && row.prefix == prefix && row.memory == (modrm >> 6 != 3) &&
        (modrm & row.mask) == row.value) {
      return true;
    }
  }
  return false;
}

// The memory operand behind ModRM, base + displacement and the stride index * scale; returns the
// bytes it takes. extend_x, extend_b: fourth bits of index and base.
int decode_memory(const ucontext_t& context, const unsigned char* modrm, int extend_x, int extend_b,
                  TileInstruction& out) {
  const int mod = *modrm >> 6;
  int base = *modrm & 7, length = 1;
  const bool sib = base == 4;
  out.address = out.stride = 0;
  if (sib) {
    const int index = (modrm[1] >> 3 & 7) | extend_x << 3;
    if (index != 4) out.stride = general_register(context, index) << (modrm[1] >> 6);
    base = modrm[1] & 7;
    ++length;
  } else {
    const bool ordinary = out.op == TileOp::kConfigure || out.op == TileOp::kStoreConfig;
    require(ordinary, out.op, "its address has no SIB byte");
  }
  const bool no_base = mod == 0 && base == 5;  // without SIB relative to the next instruction
  if (!no_base) out.address = general_register(context, base | extend_b << 3);
  if (mod == 1) {
    out.address += static_cast<uint64_t>(static_cast<int8_t>(modrm[length]));
    ++length;
  } else if (mod == 2 || no_base) {
    int32_t displacement;
    memcpy(&displacement, modrm + length, sizeof displacement);
    out.address += static_cast<uint64_t>(static_cast<int64_t>(displacement));
    length += 4;
    if (no_base && !sib) out.address += reinterpret_cast<uint64_t>(modrm + length);
  }
  return length;
}

}  // namespace

void require(bool condition, TileOp op, const char* rule) {
  if (condition) return;
  for (const char* part : {"tile emulator: ", kNames[static_cast<int>(op)], ": ", rule, "\n"}) {
    if (write(STDERR_FILENO, part, strlen(part)) < 0) break;
  }
  std::abort();
}

bool decode(const ucontext_t& context, TileInstruction& out) {
  const auto* code = reinterpret_cast<const unsigned char*>(context.uc_mcontext.gregs[REG_RIP]);
  if (code[0] != 0xC4 || (code[1] & 31) != 2) return false;
  if (!find_op(code[2] & 3, code[3], code[4], out.op)) return false;
  const auto extended = [&](int bit) { return code[1] >> bit & 1 ? 0 : 1; };  // they are inverted
  out.first = (code[4] >> 3 & 7) | extended(7) << 3;
  out.second = (code[4] & 7) | extended(5) << 3;
  out.third = ~(code[2] >> 3) & 15;
  require((code[2] & 0x84) == 0, out.op, "VEX.W or VEX.L is not 0");
  if (out.op != TileOp::kMultiply) require(out.third == 0, out.op, "VEX.vvvv is not 1111b");
  out.length = 5;
  if (code[4] >> 6 != 3) {
    out.length = 4 + decode_memory(context, code + 4, extended(6), extended(5), out);
  }
  return true;
}

}  // namespace planet::tests
