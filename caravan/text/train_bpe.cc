// BPE training (trainer.h). Source: Hugging Face tokenizers 0.23 models/bpe/trainer.rs, step by step, so that merges
// agree.
#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>

#include "caravan/base/error.h"
#include "caravan/text/trainer_parts.h"

namespace caravan::text {
namespace {

using Pair = std::pair<uint32_t, uint32_t>;

struct PairHash {
  size_t operator()(const Pair& p) const {
    return std::hash<uint64_t>()(uint64_t{p.first} << 32 | p.second) * 0x9e3779b97f4a7c15ull;
  }
};

struct Symbol {
  uint32_t id, length;  // length in bytes, as the reference has it
};

struct Change {
  Pair pair;
  int64_t by;
};

// A pair that waits for its turn, with the words where it was seen when it was queued.
struct Candidate {
  Pair pair;
  int64_t count;
  std::vector<uint32_t> words;
  bool operator<(const Candidate& o) const { return count != o.count ? count < o.count : pair > o.pair; }
};

class BpeTrainer {
 public:
  BpeTrainer(std::vector<CountedWord> words, const TrainOptions& options)
      : options_(options), words_(std::move(words)) {}

  void run() {
    for (const std::string& token : options_.special_tokens) add_token(token);
    add_alphabet();
    split_words();
    count_pairs();
    merge();
  }

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<std::pair<Pair, uint32_t>>& merges() const { return merges_; }  // with the id that they make

 private:
  size_t token_budget() const {
    return options_.byte_level ? options_.vocab_size
                               : options_.vocab_size - reserved_tokens(options_) + options_.special_tokens.size();
  }

  uint32_t add_token(const std::string& text) {
    const auto [it, added] = ids_.try_emplace(text, static_cast<uint32_t>(tokens_.size()));
    if (added) tokens_.push_back(text);
    return it->second;
  }

  void add_alphabet() {
    std::map<std::string, uint64_t> alphabet;  // UTF-8 sorts as code points do
    for (const CountedWord& word : words_) {
      for (const std::string& c : characters_of(word.text)) alphabet[c] += word.count;
    }
    if (options_.byte_level) {
      for (const std::string& c : byte_level_alphabet()) alphabet.try_emplace(c, 0);
    }
    for (const auto& [c, count] : alphabet) add_token(c);
    check(options_.byte_level || tokens_.size() <= token_budget(), ErrorCode::invalid_argument,
          "vocab_size {} is too small: special tokens and the text's {} characters need {}", options_.vocab_size,
          alphabet.size(), reserved_tokens(options_) + alphabet.size());
  }

  void split_words() {
    symbols_.resize(words_.size());
    for (size_t w = 0; w < words_.size(); ++w) {
      for (const std::string& c : characters_of(words_[w].text))
        symbols_[w].push_back({ids_.at(c), static_cast<uint32_t>(c.size())});
    }
  }

  void count_pairs() {
    std::unordered_map<Pair, std::vector<uint32_t>, PairHash> where;
    for (uint32_t w = 0; w < words_.size(); ++w) {
      for (size_t i = 0; i + 1 < symbols_[w].size(); ++i) {
        const Pair pair{symbols_[w][i].id, symbols_[w][i + 1].id};
        counts_[pair] += static_cast<int64_t>(words_[w].count);
        auto& list = where[pair];
        if (list.empty() || list.back() != w) list.push_back(w);
      }
    }
    for (auto& [pair, words] : where) queue_.push({pair, counts_[pair], std::move(words)});
  }

  // Replaces the pair in one word and lists how other pairs' counts change.
  void merge_word(std::vector<Symbol>& word, Pair pair, Symbol merged, std::vector<Change>& changes) const {
    const size_t longest = options_.max_token_length == 0 ? SIZE_MAX : options_.max_token_length;
    size_t out = 0;
    for (size_t i = 0; i < word.size(); ++i) {
      if (i + 1 >= word.size() || word[i].id != pair.first || word[i + 1].id != pair.second) {
        word[out++] = word[i];
        continue;
      }
      if (out > 0) {
        changes.push_back({{word[out - 1].id, pair.first}, -1});
        if (word[out - 1].length + merged.length < longest) changes.push_back({{word[out - 1].id, merged.id}, 1});
      }
      if (i + 2 < word.size()) {
        changes.push_back({{pair.second, word[i + 2].id}, -1});
        if (word[i + 2].length + merged.length < longest) changes.push_back({{merged.id, word[i + 2].id}, 1});
      }
      word[out++] = merged;
      ++i;
    }
    word.resize(out);
  }

  void merge() {
    while (tokens_.size() < token_budget() && !queue_.empty()) {
      Candidate top = std::move(const_cast<Candidate&>(queue_.top()));
      queue_.pop();
      const int64_t now = counts_[top.pair];
      if (top.count != now) {
        top.count = now;
        queue_.push(std::move(top));
        continue;
      }
      if (top.count < 1 || static_cast<uint64_t>(top.count) < options_.min_frequency) break;
      apply(top);
      if (options_.progress && tokens_.size() % 256 == 0) options_.progress("merging", tokens_.size(), token_budget());
    }
  }

  void apply(const Candidate& top) {
    const std::string text = tokens_[top.pair.first] + tokens_[top.pair.second];
    const uint32_t id = add_token(text);
    merges_.emplace_back(top.pair, id);
    const Symbol merged{id, static_cast<uint32_t>(text.size())};
    std::unordered_map<Pair, std::vector<uint32_t>, PairHash> where;
    std::vector<Change> changes;
    for (const uint32_t w : top.words) {
      changes.clear();
      merge_word(symbols_[w], top.pair, merged, changes);
      for (const Change& change : changes) {
        counts_[change.pair] += change.by * static_cast<int64_t>(words_[w].count);
        if (change.by < 0) continue;
        auto& list = where[change.pair];
        if (list.empty() || list.back() != w) list.push_back(w);
      }
    }
    for (auto& [pair, words] : where) {
      const int64_t count = counts_[pair];
      if (count > 0) queue_.push({pair, count, std::move(words)});
    }
  }

  const TrainOptions& options_;
  std::vector<CountedWord> words_;
  std::vector<std::vector<Symbol>> symbols_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::unordered_map<Pair, int64_t, PairHash> counts_;
  std::priority_queue<Candidate> queue_;
  std::vector<std::pair<Pair, uint32_t>> merges_;
};

TrainedTokenizer byte_level_tokenizer(const BpeTrainer& trainer, const TrainOptions& options) {
  Vocabulary vocabulary;
  for (size_t i = 0; i < trainer.tokens().size(); ++i)
    vocabulary.add(trainer.tokens()[i], static_cast<int64_t>(i), "training");
  // A pair that was merged twice keeps its last rank, as in the reference.
  std::unordered_map<Pair, size_t, PairHash> rank;
  for (size_t i = 0; i < trainer.merges().size(); ++i) rank[trainer.merges()[i].first] = i;
  MergeList merges;
  for (size_t i = 0; i < trainer.merges().size(); ++i) {
    const Pair& pair = trainer.merges()[i].first;
    if (rank[pair] == i) merges.emplace_back(static_cast<int32_t>(pair.first), static_cast<int32_t>(pair.second));
  }
  Json model_options{{"type", "BPE"},
                     {"dropout", nullptr},
                     {"unk_token", nullptr},
                     {"continuing_subword_prefix", nullptr},
                     {"end_of_word_suffix", nullptr},
                     {"fuse_unk", false},
                     {"byte_fallback", false},
                     {"ignore_merges", false}};
  return finish_byte_level(
      std::make_unique<BpeModel>(std::move(vocabulary), std::move(merges), std::move(model_options), "training"),
      options);
}

// SentencePiece's order: what merges made, by rank, then the single characters.
TrainedTokenizer metaspace_tokenizer(const BpeTrainer& trainer, const TrainOptions& options) {
  std::vector<std::pair<std::string, double>> pieces;
  const size_t first = options.special_tokens.size();
  std::vector<bool> made(trainer.tokens().size(), false);
  for (const auto& [pair, id] : trainer.merges()) {
    if (!made[id]) pieces.emplace_back(trainer.tokens()[id], -static_cast<double>(pieces.size()));
    made[id] = true;
  }
  for (size_t i = first; i < made.size(); ++i) {
    if (!made[i]) pieces.emplace_back(trainer.tokens()[i], -static_cast<double>(pieces.size()));
  }
  return finish_metaspace(SpmKind::bpe, pieces, options);
}

}  // namespace

TrainedTokenizer train_bpe(const TextSource& source, const TrainOptions& options) {
  check(options.vocab_size > reserved_tokens(options) || options.byte_level, ErrorCode::invalid_argument,
        "vocab_size {} is too small: {} tokens are reserved", options.vocab_size, reserved_tokens(options));
  BpeTrainer trainer(count_words(source, options), options);
  trainer.run();
  return options.byte_level ? byte_level_tokenizer(trainer, options) : metaspace_tokenizer(trainer, options);
}

}  // namespace caravan::text
