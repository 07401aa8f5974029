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

constexpr size_t kWholeWord = 16;  // bytes up to which a word goes through the cache uncut

// The kind of a character for junctions: ASCII and lead bytes stand for themselves, U+2581 has its own (0x80 leads
// nothing).
constexpr uint8_t kMetaKind = 0x80;
uint8_t kind_at(std::string_view text, size_t at) {
  const uint8_t lead = static_cast<uint8_t>(text[at]);
  return lead == 0xE2 && text.substr(at, 3) == kMeta ? kMetaKind : lead;
}
uint8_t kind_before(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return kind_at(text, at);
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

MergeList find_merges(std::span<const std::string_view> tokens, const Vocabulary& vocabulary, std::string_view where) {
  std::vector<int32_t> ids(tokens.size());
  vocabulary.find_all(tokens, ids);
  MergeList merges;
  merges.reserve(tokens.size() / 2);
  for (size_t i = 0; i < tokens.size(); ++i)
    check_file(ids[i] >= 0, FileFault::range, where, "merge {} names \"{}\", which is not in the vocabulary", i / 2,
               tokens[i]);
  for (size_t i = 0; i + 1 < tokens.size(); i += 2) merges.emplace_back(ids[i], ids[i + 1]);
  return merges;
}

BpeModel::BpeModel(Vocabulary vocabulary, MergeList merges, Json options, std::string where)
    : Model(std::move(vocabulary), std::move(options), std::move(where)) {
  read_options();
  byte_alphabet_ = prefix_.empty() && suffix_.empty();
  for (unsigned b = 0; b < 256; ++b) {
    byte_symbol_[b] = vocabulary_.find(to_utf8(byte_character(static_cast<unsigned char>(b))));
    byte_alphabet_ = byte_alphabet_ && byte_symbol_[b] >= 0;
  }
  byte_piece_.fill(-1);
  if (byte_fallback_) byte_piece_ = find_byte_pieces(vocabulary_, where_);
  build_merges(merges);
  find_junctions(merges);
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

void BpeModel::build_merges(const MergeList& merges) {
  std::vector<MergeTable::Merge> list;
  list.reserve(merges.size());
  std::string merged;
  int32_t made = -1;
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto [left, right] = merges[i];
    const std::string_view head = vocabulary_.text(left), tail = vocabulary_.text(right);
    check_file(tail.size() >= prefix_.size(), FileFault::range, where_,
               "merge {} joins \"{}\", which is shorter than the prefix \"{}\"", i, tail, prefix_);
    const std::string_view rest = tail.substr(prefix_.size());
    // Trained vocabularies hold the merged tokens in the order of the merges: try the last one and the next.
    if (!vocabulary_.is(made, head, rest) && !vocabulary_.is(++made, head, rest)) {
      merged.assign(head).append(rest);
      made = vocabulary_.find(merged);
      check_file(made >= 0, FileFault::range, where_, "merge {} makes \"{}\", which is not in the vocabulary", i,
                 merged);
    }
    list.push_back({left, right, made});
  }
  merges_ = MergeTable(std::move(list));
}

// Where no merge joins a character of one kind with one of another, text can be cut between the two: nothing merges
// across. Whole documents (models without pre-tokenizer) then go in words, which the cache knows.
void BpeModel::find_junctions(const MergeList& merges) {
  const bool all_known = byte_fallback_ && byte_piece_[0] >= 0;
  const bool fuses = !all_known && unknown_ && fuse_unknown_;  // unknown characters: then only beside U+2581
  // Without an unknown token what is not in the vocabulary is dropped, and the offsets behind it move: as in the
  // reference, for the word as a whole.
  cuts_ = prefix_.empty() && suffix_.empty() && !ignore_merges_ && (all_known || unknown_) &&
          (!fuses || vocabulary_.find(kMeta) >= 0);
  for (size_t pair = 0; fuses && pair < junctions_.size(); ++pair)
    if (pair >> 8 != kMetaKind && (pair & 0xFF) != kMetaKind) junctions_.set(pair);
  const int32_t unknown = unknown_ ? vocabulary_.find(*unknown_) : -1;
  for (const auto& [left, right] : merges) {
    if (!cuts_) return;
    const std::string_view head = vocabulary_.text(left), tail = vocabulary_.text(right);
    cuts_ = !head.empty() && !tail.empty();
    // Bytes and the unknown token stand for other text than their own.
    for (int32_t id : {left, right})
      cuts_ = cuts_ && id != unknown && !(vocabulary_.text(id).starts_with("<0x") && is_byte_piece(id));
    if (cuts_) junctions_.set(size_t{kind_before(head, head.size())} << 8 | kind_at(tail, 0));
  }
}

bool BpeModel::is_byte_piece(int32_t id) const {
  return std::find(byte_piece_.begin(), byte_piece_.end(), id) != byte_piece_.end();
}

int32_t BpeModel::unknown_id() const {
  const int32_t id = vocabulary_.find(*unknown_);
  check_file(id >= 0, FileFault::range, where_, "the unknown token \"{}\" is not in the vocabulary", *unknown_);
  return id;
}

void BpeModel::tokenize(std::string_view word, std::vector<Token>& out) const {
  WordCache& cache = WordCache::of_this_thread(key_);
  if (!cuts_ || raw_bytes_ || word.size() <= kWholeWord) return tokenize_part(cache, word, 0, out);
  size_t begin = 0;
  uint8_t before = kind_at(word, 0);
  for (size_t at = utf8_length(static_cast<unsigned char>(word[0])); at < word.size();) {
    const uint8_t kind = kind_at(word, at);
    if (!junctions_[size_t{before} << 8 | kind]) {
      tokenize_part(cache, word.substr(begin, at - begin), static_cast<uint32_t>(begin), out);
      begin = at;
    }
    before = kind;
    at += utf8_length(static_cast<unsigned char>(word[at]));
  }
  tokenize_part(cache, word.substr(begin), static_cast<uint32_t>(begin), out);
}

void BpeModel::tokenize_part(WordCache& cache, std::string_view word, uint32_t base, std::vector<Token>& out) const {
  if (word.empty()) return;
  const size_t first = out.size();
  if (word.size() > WordCache::kWordLimit) {
    compute(word, out);
  } else {
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
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = merges_.rank(symbols[i].id, symbols[i + 1].id);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == MergeTable::kNone) break;
    symbols[best] = {merges_.made(ranks[best]), symbols[best].size + symbols[best + 1].size};
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(best) + 2, symbols.begin() + static_cast<ptrdiff_t>(n),
              symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    if (best + 2 < n) std::copy(ranks + best + 2, ranks + n - 1, ranks + best + 1);
    --n;
    if (best + 1 < n) ranks[best] = merges_.rank(symbols[best].id, symbols[best + 1].id);
    if (best > 0) ranks[best - 1] = merges_.rank(symbols[best - 1].id, symbols[best].id);
  }
  symbols.resize(n);
}

void BpeModel::merge_long(std::vector<Symbol>& symbols) const {
  const size_t n = symbols.size();
  std::vector<uint32_t> next(n), previous(n);
  std::vector<uint64_t> heap;  // rank << 32 | position, smallest on top
  auto push = [&](size_t left, size_t right) {
    const uint32_t rank = merges_.rank(symbols[left].id, symbols[right].id);
    if (rank == MergeTable::kNone) return;
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
    const uint32_t rank = merges_.rank(symbols[at].id, symbols[right].id);
    if (rank != top >> 32) continue;  // the pair has changed since
    symbols[at] = {merges_.made(rank), symbols[at].size + symbols[right].size};
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
