#include "caravan/codes/tfidf.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "caravan/base/error.h"
#include "caravan/text/jinja_text.h"
#include "caravan/text/unicode.h"

namespace caravan::codes {
namespace {

// Case and character classes are Python's, as scikit-learn's analyzers are str.lower(), re's \w and str.split().
std::u32string lowercase_characters(std::string_view raw) {
  const std::string lower = text::jinja::lower(text::repair_utf8(raw));
  std::u32string out;
  for (size_t at = 0; at < lower.size();) out += text::decode_utf8(lower, at);
  return out;
}

std::string to_utf8(std::u32string_view characters) {
  std::string out;
  for (char32_t c : characters) text::append_utf8(out, c);
  return out;
}

template <class Belongs>
std::vector<std::u32string_view> runs_of(std::u32string_view text, Belongs belongs) {
  std::vector<std::u32string_view> runs;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && belongs(text[end])) ++end;
    if (end > at) runs.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return runs;
}

std::vector<std::string> word_terms(std::u32string_view text, const TfidfOptions& options) {
  std::vector<std::string> words, terms;
  for (std::u32string_view run : runs_of(text, text::jinja::is_word)) {
    if (run.size() >= 2) words.push_back(to_utf8(run));
  }
  for (int n = options.min_ngram; n <= options.max_ngram; ++n) {
    for (size_t i = 0; i + n <= words.size(); ++i) {
      std::string term = words[i];
      for (int j = 1; j < n; ++j) term += " " + words[i + j];
      terms.push_back(std::move(term));
    }
  }
  return terms;
}

// scikit-learn's _char_wb_ngrams: a word shorter than n counts once, for the smallest such n.
std::vector<std::string> character_terms(std::u32string_view text, const TfidfOptions& options) {
  std::vector<std::string> terms;
  for (std::u32string_view run : runs_of(text, [](char32_t c) { return !text::jinja::is_space(c); })) {
    const std::u32string word = U" " + std::u32string(run) + U" ";
    for (int n = options.min_ngram; n <= options.max_ngram; ++n) {
      const auto length = static_cast<size_t>(n);
      terms.push_back(to_utf8(std::u32string_view(word).substr(0, length)));
      for (size_t at = 1; at + length <= word.size(); ++at) {
        terms.push_back(to_utf8(std::u32string_view(word).substr(at, length)));
      }
      if (word.size() <= length) break;
    }
  }
  return terms;
}

using Counts = std::unordered_map<std::string, int64_t>;

// Column of each kept term, in code point order (the byte order of UTF-8).
std::unordered_map<std::string, int32_t> choose_columns(const Counts& documents, size_t texts,
                                                        const TfidfOptions& options, std::vector<std::string>& terms) {
  const double most = options.max_share * static_cast<double>(texts);
  for (const auto& [term, count] : documents) {
    if (count >= options.min_documents && static_cast<double>(count) <= most) terms.push_back(term);
  }
  std::sort(terms.begin(), terms.end());
  std::unordered_map<std::string, int32_t> columns;
  for (const std::string& term : terms) columns.emplace(term, static_cast<int32_t>(columns.size()));
  return columns;
}

}  // namespace

std::vector<std::string> analyze(std::string_view text, const TfidfOptions& options) {
  const std::u32string lower = lowercase_characters(text);
  return options.analyzer == Analyzer::words ? word_terms(lower, options) : character_terms(lower, options);
}

TfidfMatrix tfidf(std::span<const std::string> texts, const TfidfOptions& options) {
  check(options.min_ngram >= 1 && options.max_ngram >= options.min_ngram, ErrorCode::invalid_argument,
        "tf-idf: n-grams of {} to {}: expected 1 <= min <= max", options.min_ngram, options.max_ngram);
  std::vector<Counts> counts(texts.size());
  Counts documents;
  constexpr size_t kPolledTexts = 256;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (options.poll && i % kPolledTexts == 0) options.poll();
    for (std::string& term : analyze(texts[i], options)) ++counts[i][std::move(term)];
    for (const auto& [term, count] : counts[i]) ++documents[term];
  }
  TfidfMatrix result;
  const auto columns = choose_columns(documents, texts.size(), options, result.terms);
  check(!columns.empty(), ErrorCode::invalid_argument, "tf-idf: none of the {} texts holds a usable word",
        texts.size());
  result.matrix.columns = static_cast<int64_t>(columns.size());
  for (const Counts& own : counts) {
    std::vector<std::pair<int32_t, float>> row;
    for (const auto& [term, count] : own) {
      const auto column = columns.find(term);
      if (column == columns.end()) continue;
      const double tf = options.sublinear ? 1.0 + std::log(static_cast<double>(count)) : static_cast<double>(count);
      const double idf =
          std::log((1.0 + static_cast<double>(texts.size())) / (1.0 + static_cast<double>(documents.at(term)))) + 1.0;
      row.emplace_back(column->second, static_cast<float>(tf * idf));
    }
    result.matrix.append_row(std::move(row));
  }
  result.matrix.normalize_rows();
  return result;
}

}  // namespace caravan::codes
