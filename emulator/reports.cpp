// How failures read.
#include <string.h>

#include "machine.h"

namespace planet::cuda::emulator {
namespace {

std::string triple(unsigned int x, unsigned int y, unsigned int z) {
  return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

}  // namespace

std::string place(Where where) {
  const char* slash = strrchr(where.file_name(), '/');
  return std::string(slash ? slash + 1 : where.file_name()) + ":" + std::to_string(where.line());
}

std::string block_text(const Block& block) {
  return triple(block.index.x, block.index.y, block.index.z);
}

std::string mask_text(uint32_t mask) {
  char text[16];
  snprintf(text, sizeof text, "0x%08X", mask);
  return text;
}

// "0-3,7"
std::string lanes_text(uint32_t mask) {
  std::string text;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    int last = lane;
    while (last < 31 && mask >> (last + 1) & 1) ++last;
    if (!text.empty()) text += ",";
    text += std::to_string(lane);
    if (last > lane) text += "-" + std::to_string(last);
    lane = last;
  }
  return text;
}

std::string position(const Thread& thread) {
  return "block " + block_text(*thread.block) + " warp " +
         std::to_string(thread.warp - thread.block->warps) + " lane " +
         std::to_string(thread.lane) + " (thread " +
         triple(thread.index.x, thread.index.y, thread.index.z) + ")";
}

void leave_failed(const std::string& text) {
  machine.failure = text;
  switch_context(current->context, machine.host);
  __builtin_unreachable();
}

void fail_all(const std::string& text) {
  machine.failure = text;
  throw LaunchFailed();
}

void fail(const std::string& text) {
  fail_all(position(*current) + ": " + text);
}

void fail(const char* call, Where where, const std::string& text) {
  fail(std::string(call) + " (" + place(where) + "): " + text);
}

}  // namespace planet::cuda::emulator
