// Unigram training (trainer.h): Kudo 2018, "Subword Regularization", as sentencepiece's unigram_model_trainer.cc and
// Hugging Face's unigram/trainer.rs have it: seed, then rounds of two EM steps and a pruning by how much likelihood a
// piece is worth.
#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "caravan/base/error.h"
#include "caravan/text/trainer_parts.h"
#include "caravan/text/trie.h"

namespace caravan::text {
namespace {

constexpr double kMinExpected = 0.5;  // pieces that are expected less often go
constexpr int kEmSteps = 2;
constexpr double kOvershoot = 1.1;  // EM ends with this many times the wanted pieces

struct Candidate {
  std::string text;
  double score;
};

double digamma(double x) {
  double result = 0;
  for (; x < 7; ++x) result -= 1 / x;
  x -= 0.5;
  const double xx = 1 / x, xx2 = xx * xx, xx4 = xx2 * xx2;
  return result + std::log(x) + xx2 / 24 - 7.0 / 960 * xx4 + 31.0 / 8064 * xx4 * xx2 - 127.0 / 30720 * xx4 * xx4;
}

double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == -INFINITY ? a : a + std::log1p(std::exp(b - a));
}

class UnigramTrainer {
 public:
  UnigramTrainer(std::vector<CountedWord> words, const TrainOptions& options, size_t wanted)
      : options_(options), words_(std::move(words)), wanted_(wanted) {}

  std::vector<std::pair<std::string, double>> run() {
    seed();
    const size_t enough = static_cast<size_t>(static_cast<double>(wanted_) * kOvershoot);
    for (;;) {
      for (int step = 0; step < kEmSteps; ++step) maximize(expect());
      if (options_.progress) options_.progress("pruning", pieces_.size(), enough);
      if (pieces_.size() <= enough) break;
      const size_t before = pieces_.size();
      prune(enough);
      if (pieces_.size() == before) break;
    }
    return finish();
  }

 private:
  // Every character, and the substrings of words that cover the most text. A substring that is always followed by the
  // same character is left to its longer form, as the suffix array of SentencePiece's seed leaves it.
  void seed() {
    std::map<std::string, uint64_t> characters;
    std::unordered_map<std::string_view, uint64_t> substrings;
    const size_t longest = options_.max_token_length == 0 ? 16 : options_.max_token_length;
    for (const CountedWord& word : words_) {
      std::vector<size_t> offsets;
      for (size_t i = 0; i < word.text.size(); ++i) {
        if ((word.text[i] & 0xc0) != 0x80) offsets.push_back(i);
      }
      offsets.push_back(word.text.size());
      const size_t n = offsets.size() - 1;
      for (size_t i = 0; i < n; ++i) {
        characters[word.text.substr(offsets[i], offsets[i + 1] - offsets[i])] += word.count;
        for (size_t k = i + 2; k <= std::min(n, i + longest); ++k) {
          substrings[std::string_view(word.text).substr(offsets[i], offsets[k] - offsets[i])] += word.count;
        }
      }
    }
    if (options_.byte_level) {
      for (const std::string& c : byte_level_alphabet()) characters.try_emplace(c, 1);
    }
    std::unordered_set<std::string_view> covered_by_longer;
    for (const auto& [text, count] : substrings) {
      size_t last = text.size() - 1;
      while ((text[last] & 0xc0) == 0x80) --last;
      const auto shorter = substrings.find(text.substr(0, last));
      if (shorter != substrings.end() && shorter->second == count) covered_by_longer.insert(shorter->first);
    }
    std::vector<std::pair<double, std::string_view>> ranked;  // text covered
    for (const auto& [text, count] : substrings) {
      if (count > 1 && covered_by_longer.count(text) == 0)
        ranked.emplace_back(static_cast<double>(count) * static_cast<double>(characters_of(text).size()), text);
    }
    std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    if (ranked.size() > options_.seed_size) ranked.resize(options_.seed_size);
    check(wanted_ >= characters.size(), ErrorCode::invalid_argument,
          "vocab_size {} is too small: the text's {} characters need {}", options_.vocab_size, characters.size(),
          characters.size() + options_.vocab_size - wanted_);
    for (const auto& [text, count] : characters) {
      pieces_.push_back({text, static_cast<double>(count)});
      required_.emplace(text, 0);
    }
    for (const auto& [covered, text] : ranked) pieces_.push_back({std::string(text), covered});
    double total = 0;
    for (const Candidate& p : pieces_) total += p.score;
    for (Candidate& p : pieces_) p.score = std::log(p.score) - std::log(total);
    index();
  }

  void index() {
    std::vector<Trie::Key> keys;
    for (size_t i = 0; i < pieces_.size(); ++i) keys.emplace_back(pieces_[i].text, static_cast<int32_t>(i));
    trie_ = Trie(std::move(keys));
  }

  // Expected number of uses of every piece, over all segmentations of all words (forward-backward).
  std::vector<double> expect() const {
    std::vector<double> expected(pieces_.size(), 0);
    std::vector<double> forward, backward;
    for (const CountedWord& word : words_) {
      const std::string_view text = word.text;
      forward.assign(text.size() + 1, -INFINITY);
      backward.assign(text.size() + 1, -INFINITY);
      forward[0] = backward[text.size()] = 0;
      for (size_t i = 0; i < text.size(); ++i) {
        if (forward[i] == -INFINITY) continue;
        trie_.prefixes(text.substr(i),
                       [&](size_t n, int32_t id) { forward[i + n] = log_add(forward[i + n], forward[i] + score(id)); });
      }
      for (size_t i = text.size(); i-- > 0;) {
        trie_.prefixes(text.substr(i),
                       [&](size_t n, int32_t id) { backward[i] = log_add(backward[i], backward[i + n] + score(id)); });
      }
      const double all = forward[text.size()];
      for (size_t i = 0; i < text.size(); ++i) {
        if (forward[i] == -INFINITY) continue;
        trie_.prefixes(text.substr(i), [&](size_t n, int32_t id) {
          if (backward[i + n] == -INFINITY) return;
          expected[static_cast<size_t>(id)] +=
              static_cast<double>(word.count) * std::exp(forward[i] + score(id) + backward[i + n] - all);
        });
      }
    }
    return expected;
  }

  double score(int32_t id) const { return pieces_[static_cast<size_t>(id)].score; }

  void maximize(const std::vector<double>& expected) {
    std::vector<Candidate> kept;
    double total = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const bool needed = required_.count(pieces_[i].text) > 0;
      if (expected[i] < kMinExpected && !needed) continue;
      const double count = std::max(expected[i], kMinExpected);
      kept.push_back({pieces_[i].text, count});
      total += count;
    }
    const double log_total = digamma(total);
    for (Candidate& p : kept) p.score = digamma(p.score) - log_total;
    pieces_ = std::move(kept);
    index();
  }

  // The best segmentation of a text, without the piece `without` (-1: with all).
  bool best_path(std::string_view text, int32_t without, std::vector<int32_t>& path) const {
    std::vector<double> best(text.size() + 1, -INFINITY);
    std::vector<std::pair<size_t, int32_t>> from(text.size() + 1);
    best[0] = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (best[i] == -INFINITY) continue;
      trie_.prefixes(text.substr(i), [&](size_t n, int32_t id) {
        if (id == without || best[i] + score(id) <= best[i + n]) return;
        best[i + n] = best[i] + score(id);
        from[i + n] = {i, id};
      });
    }
    path.clear();
    if (best[text.size()] == -INFINITY) return false;
    for (size_t i = text.size(); i > 0; i = from[i].first) path.push_back(from[i].second);
    return true;
  }

  // Drops the pieces whose loss of likelihood is the smallest when their best replacement takes over.
  void prune(size_t enough) {
    std::vector<double> uses(pieces_.size(), 0);
    std::vector<int32_t> path;
    double total = 0;
    for (const CountedWord& word : words_) {
      if (!best_path(word.text, -1, path)) continue;
      for (int32_t id : path) uses[static_cast<size_t>(id)] += static_cast<double>(word.count);
      total += static_cast<double>(word.count) * static_cast<double>(path.size());
    }
    std::vector<std::pair<double, size_t>> candidates;
    std::vector<bool> keep(pieces_.size(), false);
    size_t kept = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      std::vector<int32_t> used;
      best_path(pieces_[i].text, -1, used);
      const bool is_best = used.size() == 1;
      if (required_.count(pieces_[i].text) > 0 ||
          (is_best && !best_path(pieces_[i].text, static_cast<int32_t>(i), path))) {
        keep[i] = true;
        ++kept;
      } else if (is_best && uses[i] > 0) {
        const double sum = total + uses[i] * static_cast<double>(path.size() - 1);
        double replaced = 0;
        for (int32_t id : path) replaced += std::log(uses[static_cast<size_t>(id)] + uses[i]) - std::log(sum);
        candidates.emplace_back(uses[i] / total * (std::log(uses[i]) - std::log(total) - replaced), i);
      }
    }
    const size_t size =
        std::max(enough, static_cast<size_t>(options_.shrinking_factor * static_cast<double>(pieces_.size())));
    std::sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    for (const auto& [loss, i] : candidates) {
      if (kept >= size) break;
      keep[i] = true;
      ++kept;
    }
    std::vector<Candidate> rest;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (keep[i]) rest.push_back(std::move(pieces_[i]));
    }
    pieces_ = std::move(rest);
    index();
  }

  std::vector<std::pair<std::string, double>> finish() {
    std::vector<std::pair<std::string, double>> out;
    std::sort(pieces_.begin(), pieces_.end(), [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.text < b.text;
    });
    size_t optional = wanted_ - std::min(wanted_, required_.size());
    for (const Candidate& p : pieces_) {
      const bool needed = required_.count(p.text) > 0;
      if (!needed && optional == 0) continue;
      if (!needed) --optional;
      out.emplace_back(p.text, p.score);
    }
    return out;
  }

  const TrainOptions& options_;
  std::vector<CountedWord> words_;
  const size_t wanted_;
  std::vector<Candidate> pieces_;
  std::unordered_map<std::string, int> required_;  // single characters: every word must stay writable
  Trie trie_;
};

}  // namespace

TrainedTokenizer train_unigram(const TextSource& source, const TrainOptions& options) {
  const size_t reserved = options.byte_level ? options.special_tokens.size() : reserved_tokens(options);
  check(options.vocab_size > reserved, ErrorCode::invalid_argument,
        "vocab_size {} is too small: {} tokens are reserved", options.vocab_size, reserved);
  auto pieces = UnigramTrainer(count_words(source, options), options, options.vocab_size - reserved).run();
  if (!options.byte_level) return finish_metaspace(SpmKind::unigram, pieces, options);
  std::vector<std::string> texts = options.special_tokens;
  std::vector<double> scores(texts.size(), 0);
  for (auto& [text, score] : pieces) {
    texts.push_back(std::move(text));
    scores.push_back(score);
  }
  Json model_options{{"type", "Unigram"}, {"unk_id", nullptr}, {"byte_fallback", false}};
  return finish_byte_level(
      std::make_unique<UnigramModel>(std::move(texts), std::move(scores), std::move(model_options), "training"),
      options);
}

}  // namespace caravan::text
