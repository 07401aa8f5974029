// What the two trainers share: counted words, and the making of a tokenizer from pieces.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "caravan/text/spm_vocabulary.h"
#include "caravan/text/trainer.h"

namespace caravan::text {

struct CountedWord {
  std::string text;
  uint64_t count;
};

// The words that normalizer and pre-tokenizer make of the texts, each once, in the order of their first appearance.
std::vector<CountedWord> count_words(const TextSource& source, const TrainOptions& options);

// The normalizer and pre-tokenizer of the options, as the tokenizer gets them.
Json training_normalizer(const TrainOptions& options);
Json training_pre_tokenizer(const TrainOptions& options);

// The 256 characters that stand for bytes, in the order of their code points.
std::vector<std::string> byte_level_alphabet();

std::vector<std::string> characters_of(std::string_view text);

// Byte-level tokenizer around a model.
TrainedTokenizer finish_byte_level(std::unique_ptr<Model> model, const TrainOptions& options);
// Metaspace tokenizer and .model of learned pieces (special tokens, <unk> and bytes are put in front).
TrainedTokenizer finish_metaspace(SpmKind kind, const std::vector<std::pair<std::string, double>>& pieces,
                                  const TrainOptions& options);
// How many tokens finish_metaspace puts in front.
size_t reserved_tokens(const TrainOptions& options);

std::string write_sentencepiece(const SpmVocabulary& vocabulary);  // ModelProto bytes

}  // namespace caravan::text
