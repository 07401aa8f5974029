// The flat hash table of vocabulary.h: open addressing with linear probing, at most half full.
#include "caravan/text/vocabulary.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "caravan/base/error.h"

namespace caravan::text {
namespace {

constexpr size_t kTokenLimit = 16 << 10;

uint64_t load(const char* p, size_t n) {
  uint64_t v = 0;
  std::memcpy(&v, p, n);
  return v;
}

uint64_t fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

uint64_t hash_text(std::string_view text) {
  const char* p = text.data();
  size_t n = text.size();
  uint64_t h = 0x9E3779B97F4A7C15u ^ n;
  for (; n > 16; n -= 16, p += 16) h = fold(h ^ load(p, 8), 0xA0761D6478BD642Fu ^ load(p + 8, 8));
  uint64_t a, b;
  if (n >= 8) {
    a = load(p, 8);
    b = load(p + n - 8, 8);
  } else if (n >= 4) {
    a = load(p, 4);
    b = load(p + n - 4, 4);
  } else {
    a = n > 0 ? uint64_t{static_cast<unsigned char>(p[0])} << 16 | uint64_t{static_cast<unsigned char>(p[n / 2])} << 8 |
                    static_cast<unsigned char>(p[n - 1])
              : 0;
    b = 0;
  }
  return fold(h ^ a ^ 0xE7037ED1A0B428DBu, 0x8EBC6AF09C88C6E3u ^ b);
}

void Vocabulary::reserve(size_t n, size_t bytes) {
  entries_.reserve(n);
  arena_.reserve(bytes);
  size_t want = 16;
  while (want < 2 * n) want *= 2;
  if (want > slots_.size()) {
    slots_.assign(want / 2, {});
    grow();
  }
}

void Vocabulary::grow() {
  slots_.assign(std::max<size_t>(16, slots_.size() * 2), {});
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uint64_t h = hash_text(entry_text(entries_[i]));
    size_t at = h & mask;
    while (slots_[at].entry) at = (at + 1) & mask;
    slots_[at] = {static_cast<uint32_t>(h >> 32), static_cast<uint32_t>(i + 1)};
  }
}

void Vocabulary::note_repeated(std::string_view text) {
  if (repeated_++ == 0) first_repeated_ = text;
}

Vocabulary Vocabulary::of_pieces(std::span<const std::string> pieces, std::string_view where) {
  Vocabulary out;
  size_t bytes = 0;
  for (const std::string& piece : pieces) bytes += piece.size();
  out.reserve(pieces.size(), bytes);
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (out.find(pieces[i]) >= 0)
      out.note_repeated(pieces[i]);
    else
      out.add(pieces[i], static_cast<int64_t>(i), where);
  }
  return out;
}

void Vocabulary::add(std::string_view text, int64_t id, std::string_view where) {
  check_file(text.size() <= kTokenLimit, FileFault::limit, where, "a token of {} bytes; the limit is {}", text.size(),
             kTokenLimit);
  check_file(id >= 0 && id <= std::numeric_limits<int32_t>::max(), FileFault::range, where,
             "token \"{}\" has id {}; ids are 0 to 2^31 - 1", text, id);
  if (2 * (entries_.size() + 1) > slots_.size()) grow();
  const int64_t taken = index_of(static_cast<int32_t>(id));
  check_file(taken < 0, FileFault::range, where, "the tokens \"{}\" and \"{}\" both have id {}",
             taken < 0 ? std::string_view() : entry_text(entries_[static_cast<size_t>(taken)]), text, id);
  const size_t mask = slots_.size() - 1;
  const uint64_t h = hash_text(text);
  size_t at = h & mask;
  for (; slots_[at].entry; at = (at + 1) & mask) {
    Entry& e = entries_[slots_[at].entry - 1];
    if (slots_[at].hash != static_cast<uint32_t>(h >> 32) || entry_text(e) != text) continue;
    e.id = static_cast<int32_t>(id);  // the older id keeps its text
    note_repeated(text);
    set_index(e.id, slots_[at].entry - 1);
    return;
  }
  slots_[at] = {static_cast<uint32_t>(h >> 32), static_cast<uint32_t>(entries_.size() + 1)};
  entries_.push_back({arena_.size(), static_cast<uint32_t>(text.size()), static_cast<int32_t>(id)});
  arena_ += text;
  set_index(static_cast<int32_t>(id), static_cast<uint32_t>(entries_.size() - 1));
}

void Vocabulary::set_index(int32_t id, uint32_t index) {
  max_id_ = std::max(max_id_, id);
  const size_t at = static_cast<size_t>(id);
  if (at >= by_id_.size()) {
    if (at > 4 * entries_.size() + (1 << 20)) {
      far_[id] = index;
      return;
    }
    by_id_.resize(std::max(at + 1, by_id_.size() + by_id_.size() / 2), -1);
  }
  by_id_[at] = static_cast<int32_t>(index);
}

int64_t Vocabulary::far_index(int32_t id) const {
  auto it = far_.find(id);
  return it == far_.end() ? int64_t{-1} : int64_t{it->second};
}

int32_t Vocabulary::find(std::string_view text) const {
  return slots_.empty() ? -1 : find_hashed(text, hash_text(text));
}

int32_t Vocabulary::find_hashed(std::string_view text, uint64_t h) const {
  const size_t mask = slots_.size() - 1;
  for (size_t at = h & mask; slots_[at].entry; at = (at + 1) & mask) {
    const Entry& e = entries_[slots_[at].entry - 1];
    if (slots_[at].hash == static_cast<uint32_t>(h >> 32) && entry_text(e) == text) return e.id;
  }
  return -1;
}

void Vocabulary::find_all(std::span<const std::string_view> texts, std::span<int32_t> ids) const {
  constexpr size_t kAhead = 16;
  if (slots_.empty()) return std::fill(ids.begin(), ids.end(), -1);
  const size_t mask = slots_.size() - 1;
  uint64_t hashes[kAhead];
  for (size_t begin = 0; begin < texts.size(); begin += kAhead) {
    const size_t n = std::min(kAhead, texts.size() - begin);
    for (size_t i = 0; i < n; ++i) {
      hashes[i] = hash_text(texts[begin + i]);
      __builtin_prefetch(&slots_[hashes[i] & mask]);
    }
    for (size_t i = 0; i < n; ++i) {
      const Slot slot = slots_[hashes[i] & mask];
      if (slot.entry) __builtin_prefetch(&entries_[slot.entry - 1]);
    }
    for (size_t i = 0; i < n; ++i) {
      const Slot slot = slots_[hashes[i] & mask];
      if (slot.entry) __builtin_prefetch(arena_.data() + entries_[slot.entry - 1].begin);
    }
    for (size_t i = 0; i < n; ++i) ids[begin + i] = find_hashed(texts[begin + i], hashes[i]);
  }
}

bool Vocabulary::is(int32_t id, std::string_view head, std::string_view tail) const {
  const int64_t index = index_of(id);
  if (index < 0) return false;
  const Entry& e = entries_[static_cast<size_t>(index)];
  const std::string_view text = entry_text(e);
  return e.id == id && text.size() == head.size() + tail.size() && text.starts_with(head) && text.ends_with(tail);
}

std::vector<int32_t> Vocabulary::ids() const {
  std::vector<int32_t> out;
  out.reserve(entries_.size() + far_.size());
  for (size_t id = 0; id < by_id_.size(); ++id)
    if (by_id_[id] >= 0) out.push_back(static_cast<int32_t>(id));
  const size_t near = out.size();
  for (const auto& [id, index] : far_) out.push_back(id);
  std::sort(out.begin() + static_cast<ptrdiff_t>(near), out.end());
  return out;
}

}  // namespace caravan::text
