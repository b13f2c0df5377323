// Clusters of blocks: their barrier, and addresses in each other's shared memory.
#include "machine.h"

namespace planet::cuda::emulator {

uint32_t cluster_rank() {
  return current->block->rank;
}

void cluster_arrive(Where where) {
  if (left_out("cluster_arrive", where)) return;
  Block& cluster = *current->block->cluster;
  if (current->cluster_arrived) fail("cluster_arrive", where, "arrived already; no wait between");
  current->cluster_arrived = true;
  current->cluster_phase = cluster.cluster_phase;
  const bool last = ++cluster.cluster_arrived == cluster.threads * machine.configuration.cluster;
  order_cluster_arrival(cluster, cluster.cluster_phase, last);
  ++machine.progress;
  if (last) {
    cluster.cluster_arrived = 0;
    ++cluster.cluster_phase;
  }
  jitter();
}

void cluster_wait(Where where) {
  if (left_out("cluster_wait", where)) return;
  Block& cluster = *current->block->cluster;
  if (!current->cluster_arrived) fail("cluster_wait", where, "without cluster_arrive");
  while (cluster.cluster_phase == current->cluster_phase) poll("cluster_wait", where);
  current->cluster_arrived = false;
  order_cluster_wait(cluster, current->cluster_phase);
}

void check_shared(const char* call, Where where, const void* pointer, size_t bytes,
                  size_t alignment) {
  const uintptr_t first = reinterpret_cast<uintptr_t>(current->block->shared);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (address < first || address - first + bytes > machine.configuration.shared_bytes) {
    fail(call, where, "outside the block's shared memory");
  }
  if (address % alignment != 0) {
    fail(call, where, "address is not a multiple of " + std::to_string(alignment));
  }
}

uint32_t shared_address(const void* pointer, Where where) {
  check_shared("shared_address", where, pointer, 0, 1);
  return static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) - current->block->shared);
}

uint32_t peer_address(const void* pointer, uint32_t rank, Where where) {
  if (rank >= static_cast<uint32_t>(machine.configuration.cluster)) {
    fail("peer_address", where, "no block " + std::to_string(rank) + " in the cluster");
  }
  return shared_address(pointer, where) | (rank + 1) << 24;
}

unsigned char* peer_pointer(const char* call, Where where, uint32_t address, size_t bytes,
                            Block*& block) {
  const uint32_t rank = address >> 24, offset = address & 0xFFFFFF;
  if (rank == 0 || rank > static_cast<uint32_t>(machine.configuration.cluster)) {
    fail(call, where, "not an address of peer_address");
  }
  block = current->block->cluster + (rank - 1);
  if (offset + bytes > machine.configuration.shared_bytes) {
    fail(call, where, "beyond the peer's shared memory");
  }
  if (block->exited > 0) fail(call, where, "threads of the peer have left the kernel");
  return block->shared + offset;
}

}  // namespace planet::cuda::emulator
