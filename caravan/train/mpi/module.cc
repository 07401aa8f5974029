// libcaravan_mpi.so: MPI behind the table of module.h. The only file that sees mpi.h; nothing of Caravan is linked.
#include "caravan/train/mpi/module.h"

#include <mpi.h>

namespace {

const char* describe(int error) {
  static char text[MPI_MAX_ERROR_STRING + 1];
  int length = 0;
  if (error == MPI_SUCCESS) return nullptr;
  if (MPI_Error_string(error, text, &length) != MPI_SUCCESS) return "unknown MPI error";
  text[length] = '\0';
  return text;
}

const char* open_mpi(int* rank, int* size) {
  int provided = 0;
  if (const char* error = describe(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided))) return error;
  if (provided < MPI_THREAD_FUNNELED) return "this MPI supports no threads";
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (const char* error = describe(MPI_Comm_rank(MPI_COMM_WORLD, rank))) return error;
  return describe(MPI_Comm_size(MPI_COMM_WORLD, size));
}

int start_sum(const CaravanMpiOperation& op, int rank, MPI_Request* request) {
  const MPI_Datatype type = op.kind == kMpiSumFloat ? MPI_FLOAT : MPI_DOUBLE;
  if (op.root < 0) return MPI_Iallreduce(MPI_IN_PLACE, op.data, op.count, type, MPI_SUM, MPI_COMM_WORLD, request);
  const bool here = op.root == rank;
  return MPI_Ireduce(here ? MPI_IN_PLACE : op.data, here ? op.data : nullptr, op.count, type, MPI_SUM, op.root,
                     MPI_COMM_WORLD, request);
}

const char* start(const CaravanMpiOperation* op, void** handle) {
  auto* request = new MPI_Request(MPI_REQUEST_NULL);
  *handle = request;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  switch (op->kind) {
    case kMpiSumFloat:
    case kMpiSumDouble:
      return describe(start_sum(*op, rank, request));
    case kMpiBroadcast:
      return describe(MPI_Ibcast(op->data, op->count, MPI_BYTE, op->root, MPI_COMM_WORLD, request));
    case kMpiSend:
      return describe(MPI_Isend(op->data, op->count, MPI_BYTE, op->root, 0, MPI_COMM_WORLD, request));
    case kMpiReceive:
      return describe(MPI_Irecv(op->data, op->count, MPI_BYTE, op->root, 0, MPI_COMM_WORLD, request));
  }
  return "unknown operation";
}

const char* test(void** handle, int* done) {
  auto* request = static_cast<MPI_Request*>(*handle);
  const char* error = describe(MPI_Test(request, done, MPI_STATUS_IGNORE));
  if (*done != 0) {
    delete request;
    *handle = nullptr;
  }
  return error;
}

const char* close_mpi() { return describe(MPI_Finalize()); }

}  // namespace

extern "C" const CaravanMpiTable* caravan_mpi() {
  static const CaravanMpiTable table = {open_mpi, start, test, close_mpi};
  return &table;
}
