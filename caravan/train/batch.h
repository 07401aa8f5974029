// What an objective works on, and where batches come from.
//
//   PackedBatches batches(examples, {.token_budget = 4096, .seed = 1});
//   Batch batch = batches.next();            // forever: epoch after epoch, each in an order of its own
//   Json state = batches.state();            // {"epoch": 3, "position": 812 ...}; restore() goes on from there
//
// A batch is ragged: examples one after another, nothing padded, as many as fit the token budget. The order of an epoch
// follows from (seed, epoch) alone, so a position in the data is two numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/nn/step.h"

namespace caravan::train {

using at::Tensor;

// A sequence of tokens and which of them are learned: a token that is not gives context only.
struct Example {
  std::vector<int32_t> ids;
  std::vector<uint8_t> learned;  // as long as ids; empty: all
  int32_t prefix = 0;            // so many tokens at its beginning see one another, later ones too (prefix-LM)
};

// Random access to the examples of a training or validation set. Deterministic: the same index gives the same example.
class Examples {
 public:
  virtual ~Examples() = default;
  virtual int64_t size() const = 0;
  virtual int64_t length(int64_t index) const = 0;  // tokens, cheap
  virtual Example get(int64_t index) const = 0;
};

// Examples in memory, end to end.
class TokenExamples final : public Examples {
 public:
  void add(const Example& example);
  int64_t size() const override { return static_cast<int64_t>(starts_.size()) - 1; }
  int64_t length(int64_t index) const override;
  Example get(int64_t index) const override;

 private:
  std::vector<uint64_t> starts_ = {0};
  std::vector<int32_t> ids_;
  std::vector<uint8_t> learned_;
  std::vector<int32_t> prefixes_;  // of each example
};

// CRC-32C of all their tokens, marks and prefixes: whether a run that goes on has the data that it began with.
uint32_t fingerprint(const Examples& examples);

struct Batch {
  std::vector<int64_t> lengths;   // tokens of each sequence
  std::vector<int64_t> prefixes;  // of each sequence; empty where none has one
  Tensor ids;                     // [T] int64
  Tensor targets;                 // [T] int64: the token that follows row t, -100 where nothing is learned
  int64_t target_count = 0;       // of targets
  int64_t tokens() const { return ids.defined() ? ids.size(0) : 0; }
};

// The model's call for a batch.
nn::Step step_of(const Batch& batch, at::Device device);

Batch make_batch(const std::vector<Example>& examples);
int64_t target_count(const Example& example);

struct PackingOptions {
  int64_t token_budget = 4096;  // of one batch; a longer example makes a batch of its own
  int64_t max_examples = 0;     // 0: no limit
  bool shuffle = true;
  uint64_t seed = 0;
};

class PackedBatches {
 public:
  PackedBatches(std::shared_ptr<const Examples> examples, const PackingOptions& options);

  Batch next();                          // the last batch of an epoch holds what is left
  std::vector<Example> next_examples();  // the same, not yet put together
  int64_t epoch() const { return epoch_; }
  double epochs_done() const;  // with the part of this one that was given out: 1.25
  bool at_epoch_start() const { return position_ == 0; }
  int64_t batches_in_epoch(int64_t epoch) const;  // counted, without touching the examples' tokens

  Json state() const;
  void restore(const Json& state);  // invalid_argument where the examples are others

 private:
  void enter_epoch(int64_t epoch);
  uint32_t fingerprint_of_examples() const;
  std::vector<int64_t> order_of(int64_t epoch) const;
  // How many examples from `position` on make the next batch.
  int64_t take(const std::vector<int64_t>& order, int64_t position) const;

  std::shared_ptr<const Examples> examples_;
  PackingOptions options_;
  int64_t epoch_ = 0, position_ = 0;  // position_: examples of this epoch that were given out
  std::vector<int64_t> order_;
  mutable std::optional<uint32_t> fingerprint_;  // of the examples, once it was asked for
};

// A well mixed function of two numbers (splitmix64), for everything that must be random and repeatable.
uint64_t mix(uint64_t a, uint64_t b);

}  // namespace caravan::train
