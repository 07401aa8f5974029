// Unigram language model segmentation (Kudo 2018): the most probable path, in one pass over the word.
// As Hugging Face tokenizers: unknown characters cost 10 more than the worst piece and are fused. No sampling.
#include <algorithm>
#include <cmath>
#include <limits>

#include "caravan/base/error.h"
#include "caravan/text/model.h"
#include "caravan/text/unicode.h"
#include "caravan/text/word_cache.h"

namespace caravan::text {
namespace {

constexpr double kUnknownPenalty = 10.0;

Vocabulary piece_vocabulary(const std::vector<std::string>& pieces, std::string_view where) {
  Vocabulary vocabulary;
  size_t bytes = 0;
  for (const std::string& piece : pieces) bytes += piece.size();
  vocabulary.reserve(pieces.size(), bytes);
  for (size_t id = 0; id < pieces.size(); ++id) vocabulary.add(pieces[id], static_cast<int64_t>(id), where);
  return vocabulary;
}

}  // namespace

UnigramModel::UnigramModel(std::vector<std::string> pieces, std::vector<double> scores, Json options, std::string where)
    : Model(piece_vocabulary(pieces, where), std::move(options), where), scores_(std::move(scores)) {
  check_file(pieces.size() == scores_.size(), FileFault::layout, where_, "{} pieces and {} scores", pieces.size(),
             scores_.size());
  double worst = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < scores_.size(); ++i) {
    check_file(std::isfinite(scores_[i]), FileFault::range, where_,
               "the score of piece {} (\"{}\") is not a finite number", i, pieces[i]);
    worst = std::min(worst, scores_[i]);
  }
  unknown_score_ = worst - kUnknownPenalty;
  const int64_t unknown = get_int(options_, "unk_id", where_, {.min = 0}, -1);
  check_file(unknown < static_cast<int64_t>(pieces.size()), FileFault::range, where_,
             "unk_id is {}, the vocabulary has {} pieces", unknown, pieces.size());
  unknown_ = static_cast<int32_t>(unknown);
  byte_fallback_ = get_bool(options_, "byte_fallback", where_, false);
  byte_piece_.fill(-1);
  if (byte_fallback_) byte_piece_ = find_byte_pieces(vocabulary_, where_);
  std::vector<Trie::Key> keys;
  keys.reserve(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id)
    if (!pieces[id].empty()) keys.emplace_back(pieces[id], static_cast<int32_t>(id));
  trie_ = Trie(std::move(keys));
}

Json UnigramModel::to_json() const {
  Json out = options_;
  Json vocabulary = Json::array();
  for (size_t id = 0; id < scores_.size(); ++id)
    vocabulary.push_back(Json::array({std::string(vocabulary_.text(static_cast<int32_t>(id))), scores_[id]}));
  out["vocab"] = std::move(vocabulary);
  return out;
}

void UnigramModel::best_path(std::string_view word, std::vector<Token>& reversed) const {
  struct Node {
    double score = 0;
    uint32_t start = ~uint32_t{0};
    int32_t id = -1;
  };
  thread_local std::vector<Node> ends;  // the best way to reach each byte
  ends.assign(word.size() + 1, {});
  for (size_t at = 0; at < word.size();) {
    const size_t character = utf8_length(static_cast<unsigned char>(word[at]));
    const double here = ends[at].score;
    bool single = false;
    auto offer = [&](size_t end, double score, int32_t id) {
      Node& node = ends[end];
      if (node.start != ~uint32_t{0} && !(score > node.score)) return;
      node = {score, static_cast<uint32_t>(at), id};
      check_file(id >= 0, FileFault::range, where_, "a character is not in the vocabulary and the file has no unk_id");
    };
    trie_.prefixes(word.substr(at), [&](size_t length, int32_t id) {
      offer(at + length, scores_[static_cast<size_t>(id)] + here, id);
      single = single || length == character;
    });
    if (!single) offer(at + character, unknown_score_ + here, unknown_);
    at += character;
  }
  for (size_t end = word.size(); end > 0;) {
    const Node& node = ends[end];
    const bool joins = node.id == unknown_ && !reversed.empty() && reversed.back().surface;
    if (joins)
      reversed.back().begin = node.start;
    else
      reversed.push_back({node.id, node.start, static_cast<uint32_t>(end), node.id == unknown_});
    end = node.start;
  }
  if (ends.capacity() > (1 << 20)) std::vector<Node>().swap(ends);
}

// A run of unknown characters: a piece after all where its text is one, else bytes, else the unknown piece.
void UnigramModel::emit(std::string_view word, Span span, std::vector<Token>& out) const {
  const std::string_view text = word.substr(span.begin, span.end - span.begin);
  if (const int32_t id = vocabulary_.find(text); id >= 0) {
    out.push_back({id, span.begin, span.end});
  } else if (byte_fallback_ && byte_piece_[0] >= 0) {
    for (char b : text) out.push_back({byte_piece_[static_cast<unsigned char>(b)], span.begin, span.end});
  } else {
    out.push_back({unknown_, span.begin, span.end, true});
  }
}

void UnigramModel::tokenize(std::string_view word, std::vector<Token>& out) const {
  if (word.empty()) return;
  WordCache* cache = word.size() <= WordCache::kWordLimit ? &WordCache::of_this_thread(key_) : nullptr;
  const uint64_t hash = cache ? hash_text(word) : 0;
  if (cache && cache->find(word, hash, 0, out)) return;
  thread_local std::vector<Token> reversed;
  reversed.clear();
  best_path(word, reversed);
  const size_t before = out.size();
  for (auto token = reversed.rbegin(); token != reversed.rend(); ++token) {
    if (token->surface)
      emit(word, {token->begin, token->end}, out);
    else
      out.push_back(*token);
  }
  if (cache) cache->store(word, hash, std::span(out).subspan(before));
}

}  // namespace caravan::text
