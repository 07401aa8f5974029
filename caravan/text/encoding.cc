// Operations on encodings; see encoding.h.
#include "caravan/text/encoding.h"

#include <algorithm>
#include <iterator>

#include "caravan/base/error.h"

namespace caravan::text {
namespace {

// Calls f with the same field of both encodings, for every field that has a value a token.
template <class A, class B, class F>
void each_field(A& a, B& b, F f) {
  f(a.ids, b.ids);
  f(a.tokens, b.tokens);
  f(a.offsets, b.offsets);
  f(a.type_ids, b.type_ids);
  f(a.special_tokens_mask, b.special_tokens_mask);
  f(a.attention_mask, b.attention_mask);
  f(a.word_ids, b.word_ids);
}

Encoding slice(const Encoding& from, size_t begin, size_t end) {
  Encoding out;
  each_field(out, from, [&](auto& to, const auto& field) {
    if (!field.empty())
      to.assign(field.begin() + static_cast<ptrdiff_t>(begin), field.begin() + static_cast<ptrdiff_t>(end));
  });
  return out;
}

void append(Encoding& a, Encoding&& b) {
  each_field(a, b, [](auto& to, auto& field) {
    to.insert(to.end(), std::make_move_iterator(field.begin()), std::make_move_iterator(field.end()));
  });
}

// With the overflowing parts of both, as the reference has them: combinations hold combinations.
Encoding joined(Encoding a, Encoding b) {
  merge(a, std::move(b));
  return a;
}

struct Filler {
  Encoding one;  // a single padding token
  bool left;
};

void pad(Encoding& encoding, size_t length, const Filler& filler) {
  for (Encoding& part : encoding.overflowing) pad(part, length, filler);
  if (encoding.ids.size() >= length) return;
  const size_t n = length - encoding.ids.size();
  const bool details = !encoding.attention_mask.empty() || encoding.ids.empty();
  each_field(encoding, filler.one, [&](auto& to, const auto& field) {
    if (static_cast<const void*>(&to) != static_cast<const void*>(&encoding.ids) && !details) return;
    to.insert(filler.left ? to.begin() : to.end(), n, field[0]);
  });
}

}  // namespace

void merge(Encoding& a, Encoding&& b) {
  if (a.ids.empty() && a.overflowing.empty() && b.overflowing.empty()) {
    a = std::move(b);
    return;
  }
  std::vector<Encoding> overflowing;
  for (const Encoding& part : a.overflowing) {
    overflowing.push_back(joined(part, b));
    for (const Encoding& other : b.overflowing) overflowing.push_back(joined(part, other));
  }
  for (const Encoding& other : b.overflowing) overflowing.push_back(joined(a, other));
  append(a, std::move(b));
  a.overflowing = std::move(overflowing);
}

void truncate(Encoding& encoding, size_t length, size_t stride, bool from_right) {
  const size_t n = encoding.ids.size();
  if (length >= n) return;
  if (length == 0) {
    Encoding empty;
    empty.overflowing.push_back(std::move(encoding));
    encoding = std::move(empty);
    return;
  }
  check(stride < length, ErrorCode::invalid_argument,
        "truncation stride {} must be smaller than the length {} that is left beside the special tokens", stride,
        length);
  std::vector<std::pair<size_t, size_t>> ranges;
  const size_t step = length - stride;
  if (from_right) {
    for (size_t begin = 0; begin < n; begin += step) {
      ranges.emplace_back(begin, std::min(begin + length, n));
      if (begin + length >= n) break;
    }
  } else {
    for (size_t end = n;; end -= step) {
      ranges.emplace_back(end > length ? end - length : 0, end);
      if (end <= length) break;
    }
  }
  Encoding kept = slice(encoding, ranges[0].first, ranges[0].second);
  for (size_t i = 1; i < ranges.size(); ++i)
    kept.overflowing.push_back(slice(encoding, ranges[i].first, ranges[i].second));
  encoding = std::move(kept);
}

void truncate_encodings(Encoding& first, Encoding* second, const Truncation& truncation) {
  const size_t limit = truncation.max_length, stride = truncation.stride;
  const bool right = truncation.direction != "left";
  if (limit == 0) {
    truncate(first, 0, stride, right);
    if (second) truncate(*second, 0, stride, right);
    return;
  }
  const size_t total = first.ids.size() + (second ? second->ids.size() : 0);
  if (total <= limit) return;
  if (truncation.strategy == "longest_first") {
    if (!second) return truncate(first, limit, stride, right);
    size_t small = first.ids.size(), large = second->ids.size();
    const bool swapped = small > large;
    if (swapped) std::swap(small, large);
    large = small > limit ? small : std::max(small, limit - small);
    if (small + large > limit) {
      small = limit / 2;
      large = small + limit % 2;
    }
    if (swapped) std::swap(small, large);
    truncate(first, small, stride, right);
    truncate(*second, large, stride, right);
    return;
  }
  Encoding* target = truncation.strategy == "only_first" ? &first : second;
  check(target != nullptr, ErrorCode::invalid_argument, "truncation strategy only_second needs a pair of texts");
  const size_t remove = total - limit, length = target->ids.size();
  check(length > remove, ErrorCode::invalid_argument,
        "truncation strategy {} cannot bring {} tokens to {}: the text to cut has only {}", truncation.strategy, total,
        limit, length);
  truncate(*target, length - remove, stride, right);
}

void pad_all(std::span<Encoding> encodings, const Padding& padding) {
  size_t length = padding.length.value_or(0);
  if (!padding.length)
    for (const Encoding& e : encodings) length = std::max(length, e.ids.size());
  const size_t multiple = padding.pad_to_multiple_of;
  if (multiple > 0 && length % multiple > 0) length += multiple - length % multiple;
  Filler filler;
  filler.left = padding.direction == "left";
  filler.one.ids = {padding.pad_id};
  filler.one.tokens = {padding.pad_token};
  filler.one.offsets = {{0, 0}};
  filler.one.type_ids = {padding.pad_type_id};
  filler.one.special_tokens_mask = {1};
  filler.one.attention_mask = {0};
  filler.one.word_ids = {-1};
  for (Encoding& e : encodings) pad(e, length, filler);
}

Encoding special_tokens(std::span<const int32_t> ids, std::span<const std::string> tokens, int32_t type_id,
                        bool details) {
  Encoding e;
  e.ids.assign(ids.begin(), ids.end());
  if (!details) return e;
  const size_t n = ids.size();
  e.tokens.assign(tokens.begin(), tokens.end());
  e.offsets.assign(n, {0, 0});
  e.type_ids.assign(n, type_id);
  e.special_tokens_mask.assign(n, 1);
  e.attention_mask.assign(n, 1);
  e.word_ids.assign(n, -1);
  return e;
}

}  // namespace caravan::text
