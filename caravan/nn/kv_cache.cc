#include "caravan/nn/kv_cache.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"

namespace caravan::nn {

CacheSequence::CacheSequence(CacheSequence&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)),
      length_(std::exchange(other.length_, 0)),
      pages_(std::move(other.pages_)) {}

CacheSequence& CacheSequence::operator=(CacheSequence&& other) noexcept {
  std::swap(cache_, other.cache_);
  std::swap(length_, other.length_);
  std::swap(pages_, other.pages_);
  return *this;
}

CacheSequence::~CacheSequence() {
  if (cache_ != nullptr) cache_->release(pages_);
}

CacheSequence CacheSequence::fork() const {
  CacheSequence copy;
  copy.cache_ = cache_;
  copy.length_ = length_;
  copy.pages_ = pages_;
  for (int32_t page : pages_) ++cache_->references_[page];
  return copy;
}

void CacheSequence::truncate(int64_t length) {
  check(length >= 0 && length <= length_, ErrorCode::invalid_argument, "cannot truncate {} cached tokens to {}",
        length_, length);
  length_ = length;
  if (cache_ == nullptr) return;
  const int64_t page = cache_->shape_.page_tokens;
  const auto keep = static_cast<size_t>((length + page - 1) / page);
  cache_->release(std::span(pages_).subspan(keep));
  pages_.resize(keep);
}

namespace {

// A plain copy where it can be one: beam searches copy a small page a beam and layer, an op's own cost would dwarf it.
void copy_page(Tensor& storage, int32_t from, int32_t to) {
  if (!storage.device().is_cpu()) {
    storage[to].copy_(storage[from]);
    return;
  }
  const size_t bytes = storage.nbytes() / static_cast<size_t>(storage.size(0));
  auto* data = static_cast<char*>(storage.mutable_data_ptr());
  std::memcpy(data + static_cast<size_t>(to) * bytes, data + static_cast<size_t>(from) * bytes, bytes);
}

}  // namespace

KvCache::KvCache(CacheShape shape, at::ScalarType dtype, at::Device device)
    : shape_(shape),
      dtype_(dtype),
      device_(device),
      row_(shape.head_dim + (dtype == at::kChar ? kernels::kPagedScaleBytes : 0)) {
  check(shape.layers > 0 && shape.kv_heads > 0 && shape.head_dim > 0 && shape.page_tokens > 0,
        ErrorCode::invalid_argument, "a cache needs positive layers, heads, head width and page size");
  check(dtype != at::kChar || device.is_cpu(), ErrorCode::unsupported,
        "a cache of int8 lives in the CPU's memory only");
  keys_.resize(static_cast<size_t>(shape.layers));
  values_.resize(static_cast<size_t>(shape.layers));
  grow(8);
}

CacheSequence KvCache::new_sequence() {
  CacheSequence sequence;
  sequence.cache_ = this;
  return sequence;
}

void KvCache::grow(int64_t pages) {
  const auto old_pages = static_cast<int64_t>(references_.size());
  const auto options = at::TensorOptions().dtype(dtype_).device(device_);
  for (auto* storage : {&keys_, &values_}) {
    for (Tensor& layer : *storage) {
      const Tensor larger = at::empty({pages, shape_.kv_heads, shape_.page_tokens, row_}, options);
      // A layer may be larger already, where memory was short for the next one the last time.
      if (old_pages > 0) larger.slice(0, 0, old_pages).copy_(layer.slice(0, 0, old_pages));
      layer = larger;
    }
  }
  references_.resize(static_cast<size_t>(pages), 0);
  for (int64_t page = pages; page-- > old_pages;) free_.push_back(static_cast<int32_t>(page));
}

int32_t KvCache::take_page() {
  if (free_.empty()) grow(static_cast<int64_t>(references_.size()) * 2);
  const int32_t page = free_.back();
  free_.pop_back();
  references_[page] = 1;
  return page;
}

void KvCache::release(std::span<const int32_t> pages) {
  for (int32_t page : pages) {
    if (--references_[page] == 0) free_.push_back(page);
  }
}

void KvCache::extend(CacheSequence& sequence, int64_t n) {
  check(sequence.cache_ == this, ErrorCode::internal, "a sequence of another cache");
  const int64_t page = shape_.page_tokens, length = sequence.length_ + n;
  if (n > 0 && sequence.length_ % page != 0 && references_[sequence.pages_.back()] > 1) {
    const int32_t shared = sequence.pages_.back(), own = take_page();
    for (auto* storage : {&keys_, &values_}) {
      for (Tensor& layer : *storage) copy_page(layer, shared, own);
    }
    --references_[shared];
    sequence.pages_.back() = own;
  }
  while (static_cast<int64_t>(sequence.pages_.size()) * page < length) sequence.pages_.push_back(take_page());
  sequence.length_ = length;
}

void store_row(at::ScalarType dtype, const float* x, std::byte* row, int64_t width) {
  const kernels::PagedTable& paged = *kernels::table().paged;
  if (dtype == at::kFloat) {
    std::memcpy(row, x, static_cast<size_t>(width) * sizeof(float));
  } else {
    (dtype == at::kChar ? paged.store_i8 : paged.store_bf16)(x, row, width);
  }
}

void KvCache::store(int64_t layer, std::span<CacheSequence* const> sequences, std::span<const int64_t> starts,
                    const Tensor& keys, const Tensor& values) {
  store_rows(keys_[layer], sequences, starts, keys);
  store_rows(values_[layer], sequences, starts, values);
}

void KvCache::store_rows(Tensor& storage, std::span<CacheSequence* const> sequences, std::span<const int64_t> starts,
                         const Tensor& rows) {
  const int64_t page = shape_.page_tokens, width = shape_.head_dim;
  const bool on_host = device_.is_cpu(), rounds = dtype_ == at::kChar;
  const Tensor source = rows.detach().to(rounds ? at::kFloat : dtype_).contiguous();
  const size_t head_bytes = static_cast<size_t>(width) * source.element_size();
  const auto* from = static_cast<const std::byte*>(source.const_data_ptr());
  auto* to = on_host ? static_cast<std::byte*>(storage.mutable_data_ptr()) : nullptr;
  for (size_t b = 0; b < sequences.size(); ++b) {
    const CacheSequence& sequence = *sequences[b];
    const int64_t tokens = starts[b + 1] - starts[b];
    for (int64_t done = 0; done < tokens;) {
      const int64_t at = sequence.length_ - tokens + done, inside = at % page,
                    n = std::min(page - inside, tokens - done);
      const int32_t id = sequence.pages_[static_cast<size_t>(at / page)];
      const int64_t row = starts[b] + done;
      if (!on_host) {
        storage[id].slice(1, inside, inside + n).copy_(source.slice(0, row, row + n).transpose(0, 1));
      } else {
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t h = 0; h < shape_.kv_heads; ++h) {
            std::byte* cell = to + ((id * shape_.kv_heads + h) * page + inside + i) * row_bytes();
            const std::byte* head = from + static_cast<size_t>((row + i) * shape_.kv_heads + h) * head_bytes;
            if (rounds) {
              store_row(dtype_, reinterpret_cast<const float*>(head), cell, width);
            } else {
              std::memcpy(cell, head, head_bytes);
            }
          }
        }
      }
      done += n;
    }
  }
}

namespace {

Tensor gather(const Tensor& storage, const CacheSequence& sequence) {
  const auto pages = sequence.pages();
  const Tensor ids = at::tensor(at::ArrayRef<int32_t>(pages.data(), pages.size()), at::kInt).to(storage.device());
  const Tensor picked = storage.index_select(0, ids).transpose(0, 1);  // [K, n, P, row]
  const Tensor rows = picked.reshape({picked.size(0), -1, picked.size(3)}).slice(1, 0, sequence.length());
  if (storage.scalar_type() != at::kChar) return rows;  // [K, L, D]
  const int64_t width = rows.size(2) - kernels::kPagedScaleBytes;
  const Tensor scales = rows.slice(2, width).contiguous().view(at::kFloat);  // [K, L, 1]
  return rows.slice(2, 0, width).to(at::kFloat) * scales;
}

}  // namespace

Tensor KvCache::gather_keys(int64_t layer, const CacheSequence& sequence) const {
  return gather(keys_[layer], sequence);
}
Tensor KvCache::gather_values(int64_t layer, const CacheSequence& sequence) const {
  return gather(values_[layer], sequence);
}

int64_t KvCache::used_pages() const { return static_cast<int64_t>(references_.size() - free_.size()); }

int64_t KvCache::bytes() const {
  int64_t bytes = 0;
  for (const Tensor& layer : keys_) bytes += 2 * static_cast<int64_t>(layer.nbytes());
  return bytes;
}

}  // namespace caravan::nn
