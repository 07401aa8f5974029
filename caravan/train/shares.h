// How one step's batches are dealt to processes. Whatever the number of processes, together they compute what one
// would: the same sequences, and a loss that is divided by the targets of them all.
//
//   Window window = share_of(batches, rank, size);
#pragma once

#include "caravan/train/batch.h"

namespace caravan::train {

// The batches of one optimizer step.
struct Window {
  std::vector<Batch> batches;       // this process's
  int64_t targets = 0, tokens = 0;  // of all processes
};

// As many whole batches as every process can get one of; the sequences of the remaining ones are dealt out so that the
// tokens are even. A process may get nothing of a batch with few sequences.
Window share_of(std::vector<std::vector<Example>> batches, int rank, int size);

}  // namespace caravan::train
