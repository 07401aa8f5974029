// What the program sees of MPI: the one function of libcaravan_mpi.so, a table in plain C. Every operation is started
// and then tested until it is done, all of them by one thread (MPI_THREAD_FUNNELED). Functions return nullptr, or what
// went wrong.
#pragma once

#include <cstdint>

extern "C" {

enum CaravanMpiKind {
  kMpiSumFloat,   // root < 0: everywhere
  kMpiSumDouble,  // everywhere
  kMpiBroadcast,  // bytes
  kMpiSend,
  kMpiReceive,
};

struct CaravanMpiOperation {
  CaravanMpiKind kind;
  void* data;
  int count;  // elements; at most kCaravanMpiMost
  int root;   // or the partner
};

enum { kCaravanMpiMost = 1 << 28 };

struct CaravanMpiTable {
  const char* (*open)(int* rank, int* size);
  const char* (*start)(const CaravanMpiOperation* operation, void** request);
  const char* (*test)(void** request, int* done);  // frees the request where it is done
  const char* (*close)();
};

const CaravanMpiTable* caravan_mpi();
}
