// Paged key/value cache: sequences own reference-counted pages, so forks share what they have in common.
//
//   KvCache cache({.layers = 30, .kv_heads = 3, .head_dim = 64}, at::kFloat);
//   CacheSequence prompt = cache.new_sequence();       // filled by a model call whose Step names it
//   CacheSequence beam = prompt.fork();                // shares all pages; the last one is copied on the next write
//   beam.truncate(beam.length() - 2);                  // speculation rejected two tokens
//
// Storage of one layer is [pages, K, P, row] for keys and for values (P tokens a page): a row is a head's D numbers, in
// the model's own dtype or in a smaller one. int8 (kChar, on the CPU) keeps multiples of a scale that each row ends
// with. Pages return to the pool when the last sequence that holds them is gone. Not thread-safe: one engine owns a
// cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace caravan::nn {

using at::Tensor;

struct CacheShape {
  int64_t layers = 0, kv_heads = 0, head_dim = 0;
  int64_t page_tokens = 32;
};

class KvCache;

// Writes D numbers as a row of a cache of this dtype (kFloat, kBFloat16, kChar).
void store_row(at::ScalarType dtype, const float* x, std::byte* row, int64_t width);

// A handle on one sequence's pages. Movable; must not outlive its cache.
class CacheSequence {
 public:
  CacheSequence() = default;  // empty: belongs to no cache
  CacheSequence(CacheSequence&& other) noexcept;
  CacheSequence& operator=(CacheSequence&& other) noexcept;
  ~CacheSequence();

  CacheSequence fork() const;
  void truncate(int64_t length);              // forget the tokens from `length` on
  int64_t length() const { return length_; }  // tokens stored
  std::span<const int32_t> pages() const { return pages_; }
  bool valid() const { return cache_ != nullptr; }

 private:
  friend class KvCache;
  KvCache* cache_ = nullptr;
  int64_t length_ = 0;
  std::vector<int32_t> pages_;
};

class KvCache {
 public:
  KvCache(CacheShape shape, at::ScalarType dtype, at::Device device = at::kCPU);  // unsupported: int8 elsewhere
  KvCache(const KvCache&) = delete;

  CacheSequence new_sequence();

  // Makes room for n more tokens (allocates pages, copies a shared last page) and counts them as stored: called once a
  // model call and sequence, before the layers write.
  void extend(CacheSequence& sequence, int64_t n);

  // Writes the newest tokens of several sequences: rows starts[b] .. starts[b + 1] of keys and values [T, K, D] become
  // the last tokens of sequence b, which was extended by as many.
  void store(int64_t layer, std::span<CacheSequence* const> sequences, std::span<const int64_t> starts,
             const Tensor& keys, const Tensor& values);

  // Keys or values of all stored tokens as [K, L, D] (a copy; fp32 of int8).
  Tensor gather_keys(int64_t layer, const CacheSequence& sequence) const;
  Tensor gather_values(int64_t layer, const CacheSequence& sequence) const;

  const Tensor& key_pages(int64_t layer) const { return keys_[layer]; }  // [pages, K, P, row]
  const Tensor& value_pages(int64_t layer) const { return values_[layer]; }
  const CacheShape& shape() const { return shape_; }
  at::ScalarType dtype() const { return dtype_; }
  int64_t row_bytes() const { return row_ * static_cast<int64_t>(c10::elementSize(dtype_)); }
  at::Device device() const { return device_; }
  int64_t used_pages() const;  // pages held by at least one sequence
  int64_t bytes() const;

 private:
  friend class CacheSequence;
  void store_rows(Tensor& storage, std::span<CacheSequence* const> sequences, std::span<const int64_t> starts,
                  const Tensor& rows);
  int32_t take_page();
  void release(std::span<const int32_t> pages);
  void grow(int64_t pages);
  CacheShape shape_;
  at::ScalarType dtype_;
  at::Device device_;
  int64_t row_;  // elements
  std::vector<Tensor> keys_, values_;
  std::vector<int32_t> references_, free_;
};

}  // namespace caravan::nn
