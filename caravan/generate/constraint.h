// Constraints: which tokens may come next, given what was generated so far (prefix_allowed_tokens_fn of transformers).
//
//   auto trie = std::make_shared<TrieConstraint>(std::vector<std::vector<int32_t>>{{5, 6, 2}, {5, 7, 2}});
//   auto rule = std::make_shared<FunctionConstraint>(
//       [](auto prompt, auto generated, auto& allowed) { allowed = {1, 2}; });
//
// The answer is a list of ids, not a mask over the vocabulary: a head may compute these rows only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

namespace caravan::generate {

using TokenSpan = std::span<const int32_t>;

class Constraint {
 public:
  virtual ~Constraint() = default;
  // Replaces `allowed` by the ids that may follow. An empty list makes generation fail (nothing can follow).
  virtual void allow(TokenSpan prompt, TokenSpan generated, std::vector<int32_t>& allowed) const = 0;
};

class FunctionConstraint final : public Constraint {
 public:
  using Function = std::function<void(TokenSpan prompt, TokenSpan generated, std::vector<int32_t>& allowed)>;
  explicit FunctionConstraint(Function function) : function_(std::move(function)) {}
  void allow(TokenSpan prompt, TokenSpan generated, std::vector<int32_t>& allowed) const override {
    function_(prompt, generated, allowed);
  }

 private:
  Function function_;
};

// The generated tokens must be one of these sequences (each should end with an eos token). After a complete sequence
// that no other continues, only `after` is allowed; at least one of both must exist.
class TrieConstraint final : public Constraint {
 public:
  explicit TrieConstraint(const std::vector<std::vector<int32_t>>& sequences, std::vector<int32_t> after = {});
  void allow(TokenSpan prompt, TokenSpan generated, std::vector<int32_t>& allowed) const override;

 private:
  std::vector<std::map<int32_t, int32_t>> nodes_;  // token -> node; node 0 is the root
  std::vector<int32_t> after_;
};

}  // namespace caravan::generate
