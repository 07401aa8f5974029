#include "caravan/train/batch.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <span>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/ops/cross_entropy.h"

namespace caravan::train {

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a + 0x9E3779B97F4A7C15ull * (b + 1);  // splitmix64 (Steele, Lea & Flood 2014)
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

void TokenExamples::add(const Example& example) {
  check(!example.ids.empty(), ErrorCode::invalid_argument, "an example has no tokens");
  check(example.learned.empty() || example.learned.size() == example.ids.size(), ErrorCode::invalid_argument,
        "an example of {} tokens has {} marks for what is learned", example.ids.size(), example.learned.size());
  ids_.insert(ids_.end(), example.ids.begin(), example.ids.end());
  if (example.learned.empty()) {
    learned_.resize(ids_.size(), 1);
  } else {
    learned_.insert(learned_.end(), example.learned.begin(), example.learned.end());
  }
  check(example.prefix >= 0 && example.prefix <= std::ssize(example.ids), ErrorCode::invalid_argument,
        "an example of {} tokens has a prefix of {}", example.ids.size(), example.prefix);
  starts_.push_back(ids_.size());
  prefixes_.push_back(example.prefix);
}

int64_t TokenExamples::length(int64_t index) const {
  const auto i = static_cast<size_t>(index);
  return static_cast<int64_t>(starts_[i + 1] - starts_[i]);
}

Example TokenExamples::get(int64_t index) const {
  const auto begin = static_cast<int64_t>(starts_[static_cast<size_t>(index)]), end = begin + length(index);
  return {.ids = {ids_.begin() + begin, ids_.begin() + end},
          .learned = {learned_.begin() + begin, learned_.begin() + end},
          .prefix = prefixes_[static_cast<size_t>(index)]};
}

uint32_t fingerprint(const Examples& examples) {
  uint32_t crc = 0;
  for (int64_t i = 0; i < examples.size(); ++i) {
    const Example example = examples.get(i);
    const std::array<int64_t, 2> sizes = {std::ssize(example.ids), example.prefix};
    crc = crc32c(std::as_bytes(std::span(sizes)), crc);
    crc = crc32c(std::as_bytes(std::span(example.ids)), crc);
    crc = crc32c(std::as_bytes(std::span(example.learned)), crc);
  }
  return crc;
}

int64_t target_count(const Example& example) {
  const auto tokens = static_cast<int64_t>(example.ids.size());
  if (example.learned.empty()) return std::max<int64_t>(0, tokens - 1);
  return std::count_if(example.learned.begin() + 1, example.learned.end(), [](uint8_t l) { return l != 0; });
}

nn::Step step_of(const Batch& batch, at::Device device) {
  nn::Step step = nn::Step::packed(batch.lengths, device);
  step.prefixes = batch.prefixes;
  return step;
}

Batch make_batch(const std::vector<Example>& examples) {
  Batch batch;
  int64_t tokens = 0;
  for (const Example& e : examples) {
    batch.lengths.push_back(static_cast<int64_t>(e.ids.size()));
    tokens += batch.lengths.back();
  }
  if (std::any_of(examples.begin(), examples.end(), [](const Example& e) { return e.prefix > 0; })) {
    for (const Example& e : examples) batch.prefixes.push_back(e.prefix);
  }
  batch.ids = at::empty({tokens}, at::kLong);
  batch.targets = at::full({tokens}, ops::kIgnoreIndex, at::kLong);
  auto* ids = batch.ids.mutable_data_ptr<int64_t>();
  auto* targets = batch.targets.mutable_data_ptr<int64_t>();
  int64_t row = 0;
  for (const Example& e : examples) {
    for (size_t i = 0; i < e.ids.size(); ++i, ++row) {
      ids[row] = e.ids[i];
      const bool learned = i > 0 && (e.learned.empty() || e.learned[i] != 0);
      if (learned) targets[row - 1] = e.ids[i], ++batch.target_count;
    }
  }
  return batch;
}

PackedBatches::PackedBatches(std::shared_ptr<const Examples> examples, const PackingOptions& options)
    : examples_(std::move(examples)), options_(options) {
  check(options.token_budget > 0, ErrorCode::invalid_argument, "a batch needs room for at least one token, got {}",
        options.token_budget);
  check(examples_->size() > 0, ErrorCode::invalid_argument, "there are no examples to make batches of");
  enter_epoch(0);
}

std::vector<int64_t> PackedBatches::order_of(int64_t epoch) const {
  std::vector<int64_t> order(static_cast<size_t>(examples_->size()));
  std::iota(order.begin(), order.end(), 0);
  if (!options_.shuffle) return order;
  const uint64_t seed = mix(options_.seed, static_cast<uint64_t>(epoch));
  for (size_t i = order.size(); i > 1; --i) {  // Fisher and Yates; 64 bits make the modulo's bias negligible
    std::swap(order[i - 1], order[mix(seed, i) % i]);
  }
  return order;
}

void PackedBatches::enter_epoch(int64_t epoch) {
  epoch_ = epoch;
  position_ = 0;
  order_ = order_of(epoch);
}

int64_t PackedBatches::take(const std::vector<int64_t>& order, int64_t position) const {
  int64_t tokens = 0, taken = 0;
  const auto left = static_cast<int64_t>(order.size()) - position;
  while (taken < left && (options_.max_examples == 0 || taken < options_.max_examples)) {
    tokens += examples_->length(order[static_cast<size_t>(position + taken)]);
    if (taken > 0 && tokens > options_.token_budget) break;
    ++taken;
  }
  return taken;
}

double PackedBatches::epochs_done() const {
  return static_cast<double>(epoch_) + static_cast<double>(position_) / static_cast<double>(order_.size());
}

int64_t PackedBatches::batches_in_epoch(int64_t epoch) const {
  const std::vector<int64_t> order = epoch == epoch_ ? order_ : order_of(epoch);
  int64_t count = 0;
  for (int64_t at = 0; at < static_cast<int64_t>(order.size()); ++count) at += take(order, at);
  return count;
}

Batch PackedBatches::next() { return make_batch(next_examples()); }

std::vector<Example> PackedBatches::next_examples() {
  if (position_ == static_cast<int64_t>(order_.size())) enter_epoch(epoch_ + 1);
  const int64_t count = take(order_, position_);
  std::vector<Example> examples;
  for (int64_t i = 0; i < count; ++i) examples.push_back(examples_->get(order_[static_cast<size_t>(position_ + i)]));
  position_ += count;
  // Neighbours of similar length let attention handle several sequences in one call.
  std::stable_sort(examples.begin(), examples.end(),
                   [](const Example& a, const Example& b) { return a.ids.size() > b.ids.size(); });
  if (position_ == static_cast<int64_t>(order_.size())) enter_epoch(epoch_ + 1);
  return examples;
}

Json PackedBatches::state() const {
  return {{"epoch", epoch_},
          {"position", position_},
          {"examples", examples_->size()},
          {"crc32c", fingerprint_of_examples()}};
}

uint32_t PackedBatches::fingerprint_of_examples() const {
  if (!fingerprint_) fingerprint_ = fingerprint(*examples_);
  return *fingerprint_;
}

void PackedBatches::restore(const Json& state) {
  constexpr std::string_view kWhere = "the saved position in the data";
  const int64_t examples = get_int(state, "examples", kWhere, {.min = 1});
  check(examples == examples_->size(), ErrorCode::invalid_argument,
        "the run was stopped with {} training examples, now there are {}: resume with the same data", examples,
        examples_->size());
  constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
  const int64_t crc = get_int(state, "crc32c", kWhere, {.min = 0, .max = kMax}, -1);  // earlier versions saved none
  check(
      crc < 0 || crc == fingerprint_of_examples(), ErrorCode::invalid_argument,
      "the run was stopped with other training examples, though as many (CRC-32C {:08x}, now {:08x}): resume with the "
      "same data and item codes",
      crc, fingerprint_of_examples());
  enter_epoch(get_int(state, "epoch", kWhere, {.min = 0}));
  position_ = get_int(state, "position", kWhere, {.min = 0, .max = examples - 1});
}

}  // namespace caravan::train
