#include "caravan/train/gradient_buckets.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>

#include "caravan/base/json.h"

namespace caravan::train {

GradientBuckets::GradientBuckets(ParameterStore& store, Communicator& processes, int64_t elements)
    : store_(store), processes_(processes), bucket_of_(store.slots().size()) {
  const std::vector<ParameterSlot>& slots = store.slots();
  std::vector<size_t> layout(slots.size());
  std::iota(layout.begin(), layout.end(), 0);
  std::sort(layout.begin(), layout.end(), [&](size_t a, size_t b) { return slots[a].offset < slots[b].offset; });
  for (const size_t i : layout) {
    const int owner = store.shards() > 1 ? static_cast<int>(slots[i].shard) : Communicator::kAll;
    const bool fits = !buckets_.empty() && buckets_.back().owner == owner &&
                      slots[i].offset - buckets_.back().begin + slots[i].size <= elements;
    if (!fits) buckets_.push_back({.begin = slots[i].offset, .owner = owner});
    buckets_.back().end = slots[i].offset + slots[i].size;
    buckets_.back().slots.push_back(i);
    bucket_of_[i] = buckets_.size() - 1;
  }
  if (processes_.size() > 1) store_.on_arrival = [this](size_t slot) { arrived(slot); };
}

GradientBuckets::~GradientBuckets() { store_.on_arrival = {}; }

void GradientBuckets::begin(int64_t passes) {
  arrivals_.assign(store_.slots().size(), 0);
  for (Bucket& bucket : buckets_) bucket.missing = bucket.slots.size();
  passes_ = passes;
  next_ = started_early_ = 0;
  completed_.clear();
}

void GradientBuckets::arrived(size_t slot) {
  ++arrivals_[slot];
  Bucket& bucket = buckets_[bucket_of_[slot]];
  if (order_.empty()) {  // the first window: the last arrival counts
    std::erase(completed_, bucket_of_[slot]);
    completed_.push_back(bucket_of_[slot]);
  }
  if (order_.empty() || per_pass_.empty()) return;
  const int64_t expected = per_pass_[slot] * passes_;
  check(arrivals_[slot] <= expected, ErrorCode::unsupported,
        "{} got {} gradients in one step where the first step had {}: a model whose graph changes from step to step "
        "trains in one process only",
        store_.slots()[slot].name, arrivals_[slot], expected);
  if (arrivals_[slot] == expected) --bucket.missing;
  start_ready(false);
}

void GradientBuckets::start_ready(bool all) {
  for (; next_ < order_.size(); ++next_) {
    const Bucket& bucket = buckets_[order_[next_]];
    if (!all && bucket.missing > 0) return;
    if (!all) ++started_early_;
    auto* values = store_.gradients().mutable_data_ptr<float>();
    processes_.start_sum({values + bucket.begin, static_cast<size_t>(bucket.end - bucket.begin)}, bucket.owner);
  }
}

// Process 0 says it.
void GradientBuckets::learn_order() {
  for (size_t b = 0; b < buckets_.size(); ++b) {
    if (std::find(completed_.begin(), completed_.end(), b) == completed_.end()) completed_.push_back(b);
  }
  const std::string text = broadcast(processes_, Json(completed_).dump());
  order_ = parse_json(text, "the order of gradients").get<std::vector<size_t>>();
}

void GradientBuckets::finish() {
  if (processes_.size() == 1) return;
  if (order_.empty()) learn_order();
  if (per_pass_.empty() && passes_ > 0) {
    for (const int64_t n : arrivals_) per_pass_.push_back(std::max<int64_t>(1, n / passes_));
  }
  start_ready(true);
  processes_.wait();
}

}  // namespace caravan::train
