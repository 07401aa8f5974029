// Trains BPE and Unigram tokenizers from text.
//
//   TrainOptions options{.vocab_size = 8000, .special_tokens = {"<|endoftext|>"}};
//   TrainedTokenizer t = train_bpe(lines_of({"corpus.txt"}), options);
//   write_file("tokenizer.json", t.tokenizer.to_json());
//
// BPE: Sennrich et al. 2016, with pair counts kept up to date as the Hugging Face trainer keeps them; among pairs of
// equal count the one with the smaller ids is merged first, so byte-level training gives the same merges as Hugging
// Face tokenizers 0.23. Unigram: Kudo 2018 (EM over a lattice, pruning by loss), seeded with all frequent substrings.
// Left out: training on several threads, and the suffix array of SentencePiece's seed (substrings are counted in
// words).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/text/tokenizer.h"

namespace caravan::text {

using TextSource = std::function<bool(std::string& text)>;  // the next text; false at the end

TextSource lines_of(std::vector<std::string> paths);         // every line of these files, without its end
TextSource texts_of(const std::vector<std::string>& texts);  // `texts` must outlive it

struct TrainOptions {
  size_t vocab_size = 30'000;
  uint64_t min_frequency = 0;               // BPE: a pair must come this often
  std::vector<std::string> special_tokens;  // get the first ids
  bool byte_level = true;                   // false: Metaspace, with <unk>, and a SentencePiece model beside it
  std::string normalizer;                   // "", "nfc", "nfkc", "lowercase" (byte-level only)
  bool byte_fallback = false;               // Metaspace: unknown characters become bytes
  size_t max_token_length = 0;              // characters; 0: no limit for BPE, 16 for Unigram
  size_t seed_size = 1'000'000;             // Unigram: candidates before pruning
  double shrinking_factor = 0.75;           // Unigram: part of the pieces that a round keeps
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
};

struct TrainedTokenizer {
  Tokenizer tokenizer;
  std::string sentencepiece_model;  // bytes of a .model with the same ids; empty for byte-level
};

// Throws invalid_argument: no text, or a vocabulary too small for its special tokens and alphabet.
TrainedTokenizer train_bpe(const TextSource& source, const TrainOptions& options);
TrainedTokenizer train_unigram(const TextSource& source, const TrainOptions& options);

}  // namespace caravan::text
