// Sums the gradients of several processes while the backward pass is still running (Li et al. 2020, "PyTorch
// Distributed"): the flat buffer is cut into buckets of a few MB, and a bucket's sum is started when the last of its
// gradients has arrived.
//
//   GradientBuckets buckets(store, processes);
//   store.begin_window(); buckets.begin(micro_batches); ... backward passes ...; store.end_window(); buckets.finish();
//
// All processes must start their sums in one order: that in which the buckets of process 0 became complete in the first
// window, where nothing overlaps yet. With a sharded store a bucket is summed at its owner only.
#pragma once

#include "caravan/train/communicator.h"
#include "caravan/train/parameters.h"

namespace caravan::train {

class GradientBuckets {
 public:
  // 4 MB: large enough that starting a sum costs nothing, small enough that a recommender's model has several.
  static constexpr int64_t kElements = 1 << 20;

  GradientBuckets(ParameterStore& store, Communicator& processes, int64_t elements = kElements);
  ~GradientBuckets();

  void begin(int64_t passes);  // backward passes that this process will make
  void finish();               // after the store's end_window(): waits for all sums

  size_t count() const { return buckets_.size(); }
  size_t started_early() const { return started_early_; }  // sums of this window that ran beside the backward pass

 private:
  struct Bucket {
    int64_t begin = 0, end = 0;  // elements of the flat buffers
    int owner = Communicator::kAll;
    std::vector<size_t> slots;
    size_t missing = 0;  // slots whose gradients are not complete
  };
  void arrived(size_t slot);
  void start_ready(bool all);
  void learn_order();

  ParameterStore& store_;
  Communicator& processes_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;             // [slots]
  std::vector<int64_t> arrivals_, per_pass_;  // [slots]: gradients of a slot in this window; in one backward pass
  std::vector<size_t> order_;                 // of starting; empty until it is known
  std::vector<size_t> completed_;             // in the first window
  size_t next_ = 0, started_early_ = 0;       // of order_
  int64_t passes_ = 0;
};

}  // namespace caravan::train
