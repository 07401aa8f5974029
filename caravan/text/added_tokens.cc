// Finding of added tokens; see added_tokens.h. Positions that cannot start a token are skipped by their first byte.
#include "caravan/text/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "caravan/text/unicode.h"

namespace caravan::text {

void AddedTokens::add(const AddedToken& token, const Model& model, const Normalizer* normalizer) {
  if (token.content.empty()) return;
  if (!next_id_) next_id_ = static_cast<int32_t>(model.size());
  if (auto known = find(token.content); known && by_id_.at(*known) == token) return;
  int32_t id = find(token.content).value_or(model.vocabulary().find(token.content));
  if (id < 0) id = (*next_id_)++;
  if (token.normalized && normalizer) {
    AlignedText text(token.content, 0, false);
    normalizer->apply(text);
    if (text.text() != token.content) normalized_[id] = std::string(text.text());
  }
  ids_[token.content] = id;
  if (token.special) special_.insert(token.content);
  by_id_[id] = token;
}

void AddedTokens::build() {
  std::vector<Trie::Key> raw, after;
  entries_.clear();
  for (const auto& [id, token] : by_id_) {
    const int32_t index = static_cast<int32_t>(entries_.size());
    entries_.push_back({id, token, is_special(token.content)});
    const std::string_view pattern = token.normalized && normalized_.count(id) ? normalized_.at(id) : token.content;
    if (!pattern.empty()) (token.normalized ? after : raw).emplace_back(pattern, index);
  }
  any_raw_ = !raw.empty();
  any_after_ = !after.empty();
  raw_ = Trie(std::move(raw));
  after_ = Trie(std::move(after));
}

std::optional<int32_t> AddedTokens::find(const std::string& content) const {
  auto it = ids_.find(content);
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

const std::string* AddedTokens::text(int32_t id) const {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return nullptr;
  auto normalized = normalized_.find(id);
  return normalized == normalized_.end() ? &it->second.content : &normalized->second;
}

void AddedTokens::find_in(std::string_view text, const Trie& trie, bool parse_special, const Cut& cut) const {
  auto word_before = [&](size_t at) { return at > 0 && has(decode_utf8_before(text, at), kWord); };
  auto word_after = [&](size_t at) { return at < text.size() && has(decode_utf8(text, at), kWord); };
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (!trie.starts(static_cast<unsigned char>(text[at]))) {
      ++at;
      continue;
    }
    const auto [length, index] = trie.longest(text.substr(at));
    if (index < 0) {
      ++at;
      continue;
    }
    size_t start = at, stop = at + length;
    at = stop;
    const Entry& entry = entries_[static_cast<size_t>(index)];
    if (!parse_special && entry.special) continue;
    if (entry.token.single_word && (word_before(start) || word_after(stop))) continue;
    while (entry.token.lstrip && start > done) {
      size_t before = start;
      if (!has(decode_utf8_before(text, before), kSpace)) break;
      start = std::max(before, done);
    }
    while (entry.token.rstrip && stop < text.size()) {
      size_t after = stop;
      if (!has(decode_utf8(text, after), kSpace)) break;
      stop = after;
    }
    // A token that the one before has taken the first spaces of: with lstrip it begins after them, else both have them.
    if (entry.token.lstrip && start < done) {
      start = done;
      stop = std::max(stop, start);
    }
    if (done < start) cut(done, start);
    cut(start, stop, entry.id);
    done = stop;
  }
  if (done != text.size()) cut(done, text.size());
}

void AddedTokens::extract(Pieces& pieces, const Normalizer* normalizer, bool parse_special) const {
  if (any_raw_) pieces.split([&](std::string_view text, const Cut& cut) { find_in(text, raw_, parse_special, cut); });
  if (normalizer) pieces.rewrite([&](AlignedText& text) { normalizer->apply(text); });
  if (any_after_)
    pieces.split([&](std::string_view text, const Cut& cut) { find_in(text, after_, parse_special, cut); });
}

}  // namespace caravan::text
