// Byte pair encoding (Sennrich et al. 2016) as Hugging Face tokenizers has it: lowest rank first, then leftmost.
// Short words by scanning, long ones by a priority queue: O(n log n). Dropout is not applied.
#include <algorithm>
#include <queue>

#include "caravan/base/error.h"
#include "caravan/text/byte_level.h"
#include "caravan/text/model.h"
#include "caravan/text/unicode.h"
#include "caravan/text/word_cache.h"

namespace caravan::text {
namespace {

constexpr std::string_view kMeta = "\xE2\x96\x81";  // U+2581, SentencePiece's space
constexpr size_t kShortWord = 40;                   // symbols; scanning beats the queue up to about here

uint64_t pair_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}
uint64_t hash_pair(uint64_t pair) {
  const unsigned __int128 product = static_cast<unsigned __int128>(pair ^ 0x9E3779B97F4A7C15u) * 0xA0761D6478BD642Fu;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

std::array<int32_t, 256> find_byte_pieces(const Vocabulary& vocabulary, std::string_view where) {
  std::array<int32_t, 256> ids;
  size_t found = 0;
  for (unsigned b = 0; b < 256; ++b) {
    ids[b] = vocabulary.find(fmt::format("<0x{:02X}>", b));
    found += ids[b] >= 0;
  }
  check_file(found == 0 || found == 256, FileFault::range, where,
             "byte_fallback needs the tokens <0x00> to <0xFF>, {} of 256 are in the vocabulary", found);
  return ids;
}

BpeModel::BpeModel(Vocabulary vocabulary, MergeList merges, Json options, std::string where)
    : Model(std::move(vocabulary), std::move(options), std::move(where)), merges_(std::move(merges)) {
  read_options();
  byte_alphabet_ = prefix_.empty() && suffix_.empty();
  for (unsigned b = 0; b < 256; ++b) {
    byte_symbol_[b] = vocabulary_.find(to_utf8(byte_character(static_cast<unsigned char>(b))));
    byte_alphabet_ = byte_alphabet_ && byte_symbol_[b] >= 0;
  }
  byte_piece_.fill(-1);
  if (byte_fallback_) byte_piece_ = find_byte_pieces(vocabulary_, where_);
  build_rules();
  find_word_starts();
}

void BpeModel::read_options() {
  if (const Json* unknown = find_member(options_, "unk_token")) {
    check_file(unknown->is_string(), FileFault::type, where_, "model.unk_token must be a string");
    unknown_ = unknown->get<std::string>();
  }
  prefix_ = get_string(options_, "continuing_subword_prefix", where_, "");
  suffix_ = get_string(options_, "end_of_word_suffix", where_, "");
  fuse_unknown_ = get_bool(options_, "fuse_unk", where_, false);
  byte_fallback_ = get_bool(options_, "byte_fallback", where_, false);
  ignore_merges_ = get_bool(options_, "ignore_merges", where_, false);
}

void BpeModel::build_rules() {
  size_t slots = 16;
  while (slots < 2 * merges_.size()) slots *= 2;
  rules_.assign(slots, {});
  rule_mask_ = slots - 1;
  std::string merged;
  for (size_t i = 0; i < merges_.size(); ++i) {
    const auto [left, right] = merges_[i];
    const std::string_view tail = vocabulary_.text(right);
    check_file(tail.size() >= prefix_.size(), FileFault::range, where_,
               "merge {} joins \"{}\", which is shorter than the prefix \"{}\"", i, tail, prefix_);
    merged.assign(vocabulary_.text(left)).append(tail.substr(prefix_.size()));
    const int32_t id = vocabulary_.find(merged);
    check_file(id >= 0, FileFault::range, where_, "merge {} makes \"{}\", which is not in the vocabulary", i, merged);
    const uint64_t pair = pair_of(left, right);
    size_t at = hash_pair(pair) & rule_mask_;
    while (rules_[at].id >= 0 && rules_[at].pair != pair) at = (at + 1) & rule_mask_;
    rules_[at] = {pair, static_cast<uint32_t>(i), id};  // a pair that comes twice has its last rank
  }
}

const BpeModel::Rule& BpeModel::rule(int32_t left, int32_t right) const {
  static const Rule none;
  const uint64_t pair = pair_of(left, right);
  for (size_t at = hash_pair(pair) & rule_mask_;; at = (at + 1) & rule_mask_) {
    const Rule& r = rules_[at];
    if (r.pair == pair) return r;
    if (r.id < 0) return none;
  }
}

// Where no merge makes a token with U+2581 behind another character, text can be cut before every U+2581 that follows
// another character: nothing merges across. Whole documents (models without pre-tokenizer) then go word by word.
void BpeModel::find_word_starts() {
  word_starts_ = prefix_.empty() && suffix_.empty() && !ignore_merges_ && vocabulary_.find(kMeta) >= 0;
  for (const auto& [left, right] : merges_) {
    if (!word_starts_) return;
    const std::string_view head = vocabulary_.text(left), tail = vocabulary_.text(right);
    if (!tail.starts_with(kMeta)) continue;  // a U+2581 further inside came from an earlier merge
    word_starts_ = head.ends_with(kMeta);
  }
}

int32_t BpeModel::unknown_id() const {
  const int32_t id = vocabulary_.find(*unknown_);
  check_file(id >= 0, FileFault::range, where_, "the unknown token \"{}\" is not in the vocabulary", *unknown_);
  return id;
}

void BpeModel::tokenize(std::string_view word, std::vector<Token>& out) const {
  if (!word_starts_ || raw_bytes_) return tokenize_part(word, 0, out);
  size_t begin = 0;
  for (size_t at = word.find(kMeta, 1); at != std::string_view::npos; at = word.find(kMeta, at + 1)) {
    if (word.substr(0, at).ends_with(kMeta)) continue;
    tokenize_part(word.substr(begin, at - begin), static_cast<uint32_t>(begin), out);
    begin = at;
  }
  tokenize_part(word.substr(begin), static_cast<uint32_t>(begin), out);
}

void BpeModel::tokenize_part(std::string_view word, uint32_t base, std::vector<Token>& out) const {
  if (word.empty()) return;
  const size_t first = out.size();
  if (word.size() > WordCache::kWordLimit) {
    compute(word, out);
  } else {
    WordCache& cache = WordCache::of_this_thread(key_);
    const uint64_t hash = hash_text(word);
    if (cache.find(word, hash, base, out)) return;
    compute(word, out);
    cache.store(word, hash, std::span(out).subspan(first));
  }
  for (size_t i = first; i < out.size() && base > 0; ++i) {
    out[i].begin += base;
    out[i].end += base;
  }
}

bool BpeModel::whole_word(std::string_view word, std::vector<Token>& out) const {
  std::string mapped;
  if (raw_bytes_) append_byte_level(mapped, word);
  const int32_t id = vocabulary_.find(raw_bytes_ ? std::string_view(mapped) : word);
  if (id >= 0) out.push_back({id, 0, static_cast<uint32_t>(word.size())});
  return id >= 0;
}

void BpeModel::compute(std::string_view word, std::vector<Token>& out) const {
  if (ignore_merges_ && whole_word(word, out)) return;
  thread_local std::vector<Symbol> symbols;
  symbols.clear();
  split_symbols(word, symbols);
  if (symbols.size() <= kShortWord)
    merge_short(symbols);
  else
    merge_long(symbols);
  uint32_t at = 0;
  for (const Symbol& s : symbols) {
    if (s.size == 0) continue;
    out.push_back({s.id, at, at + s.size});
    at += s.size;
  }
  if (symbols.capacity() > (1 << 20)) std::vector<Symbol>().swap(symbols);
}

void BpeModel::split_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  if (raw_bytes_) {
    for (char b : word) symbols.push_back({byte_symbol_[static_cast<unsigned char>(b)], 1});
    return;
  }
  Symbol unknown{-1, 0};  // not yet written
  std::string text;
  auto flush = [&] {
    if (unknown.id >= 0) symbols.push_back(unknown);
    unknown.id = -1;
  };
  for (size_t at = 0; at < word.size();) {
    const uint32_t size = static_cast<uint32_t>(utf8_length(static_cast<unsigned char>(word[at])));
    std::string_view s = word.substr(at, size);
    const bool first = at == 0, last = at + size == word.size();
    if ((!first && !prefix_.empty()) || (last && !suffix_.empty())) {
      text.assign(first ? "" : prefix_).append(s).append(last ? suffix_ : "");
      s = text;
    }
    at += size;
    if (const int32_t id = vocabulary_.find(s); id >= 0) {
      flush();
      symbols.push_back({id, size});
      continue;
    }
    if (byte_fallback_ && byte_piece_[0] >= 0) {  // an unknown symbol before stays pending, as in the reference
      for (char b : s) symbols.push_back({byte_piece_[static_cast<unsigned char>(b)], 1});
      continue;
    }
    if (!unknown_) continue;
    if (unknown.id >= 0 && fuse_unknown_) {
      unknown.size += size;
    } else {
      flush();
      unknown = {unknown_id(), size};
    }
  }
  flush();
}

void BpeModel::merge_short(std::vector<Symbol>& symbols) const {
  uint32_t ranks[kShortWord];
  size_t n = symbols.size();
  if (n < 2) return;
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = rule(symbols[i].id, symbols[i + 1].id).rank;
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == ~uint32_t{0}) break;
    symbols[best].id = rule(symbols[best].id, symbols[best + 1].id).id;
    symbols[best].size += symbols[best + 1].size;
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(best) + 2, symbols.begin() + static_cast<ptrdiff_t>(n),
              symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    if (best + 2 < n) std::copy(ranks + best + 2, ranks + n - 1, ranks + best + 1);
    --n;
    if (best + 1 < n) ranks[best] = rule(symbols[best].id, symbols[best + 1].id).rank;
    if (best > 0) ranks[best - 1] = rule(symbols[best - 1].id, symbols[best].id).rank;
  }
  symbols.resize(n);
}

void BpeModel::merge_long(std::vector<Symbol>& symbols) const {
  const size_t n = symbols.size();
  std::vector<uint32_t> next(n), previous(n);
  std::vector<uint64_t> heap;  // rank << 32 | position, smallest on top
  auto push = [&](size_t left, size_t right) {
    const uint32_t rank = rule(symbols[left].id, symbols[right].id).rank;
    if (rank == ~uint32_t{0}) return;
    heap.push_back(uint64_t{rank} << 32 | left);
  };
  auto lift = [&](size_t before) {
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (size_t i = 0; i < n; ++i) {
    next[i] = static_cast<uint32_t>(i + 1);
    previous[i] = static_cast<uint32_t>(i - 1);  // of the first: never read
    if (i + 1 < n) push(i, i + 1);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t top = heap.back();
    heap.pop_back();
    const size_t at = top & 0xFFFFFFFFu, right = next[at];
    if (symbols[at].size == 0 || right >= n) continue;
    const Rule& r = rule(symbols[at].id, symbols[right].id);
    if (r.rank != top >> 32) continue;  // the pair has changed since
    symbols[at] = {r.id, symbols[at].size + symbols[right].size};
    symbols[right].size = 0;
    next[at] = next[right];
    if (next[at] < n) previous[next[at]] = static_cast<uint32_t>(at);
    size_t before = heap.size();
    if (at > 0) push(previous[at], at);
    lift(before);
    before = heap.size();
    if (next[at] < n) push(at, next[at]);
    lift(before);
  }
}

}  // namespace caravan::text
