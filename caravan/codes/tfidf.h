// TF-IDF of item texts, with the numbers of scikit-learn's TfidfVectorizer.
//
//   TfidfMatrix m = tfidf(texts, {.analyzer = Analyzer::words, .sublinear = true});
//   m.matrix.rows == texts.size();  m.terms[column]
//
// Words: lowercased, \b\w\w+\b (scikit-learn's token_pattern). Character n-grams: inside words padded by one space
// ("char_wb"). tf = 1 + ln(count) where sublinear; idf = ln((1 + N) / (1 + df)) + 1; rows of length 1. Columns are the
// terms in code point order. Left out: stop words, accent stripping, custom patterns.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {

enum class Analyzer { words, characters };

struct TfidfOptions {
  Analyzer analyzer = Analyzer::words;
  int min_ngram = 1, max_ngram = 1;  // words in a row, or characters
  int64_t min_documents = 1;         // terms of fewer texts are left out
  double max_share = 1.0;            // terms of a larger share of the texts are left out
  bool sublinear = true;
  Poll poll = {};
};

struct TfidfMatrix {
  SparseMatrix matrix;             // [texts, terms]
  std::vector<std::string> terms;  // of the columns
};

std::vector<std::string> analyze(std::string_view text, const TfidfOptions& options);  // its terms, with repetitions

// Throws invalid_argument where no text holds a term.
TfidfMatrix tfidf(std::span<const std::string> texts, const TfidfOptions& options = {});

}  // namespace caravan::codes
