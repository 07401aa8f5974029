// A SentencePiece vocabulary, from a .model file or from GGUF, and the tokenizer it makes.
//
//   SpmVocabulary v = ...;
//   TokenizerParts parts = make_spm_parts(std::move(v), "tokenizer.model");
//
// BPE becomes merges (every split of a piece into two pieces, ordered by the piece's score), as transformers'
// convert_slow_tokenizer does; Unigram keeps its scores. Ids equal those of the sentencepiece library on plain text;
// where two places of a text could become the same piece, the library takes the leftmost and merges take their own
// order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/text/tokenizer_parts.h"

namespace caravan::text {

enum class SpmPiece : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
enum class SpmKind { unigram, bpe, word, character };

struct SpmVocabulary {
  SpmKind kind = SpmKind::unigram;
  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<SpmPiece> types;
  std::string precompiled_charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true,
       whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::optional<int32_t> bos, eos;  // put around a text where set
};

// Throws corrupt_file: limit (no pieces, or too many), range (a score that is no number, byte pieces that are missing).
TokenizerParts make_spm_parts(SpmVocabulary vocabulary, std::string_view where);

// A TemplateProcessing post-processor that puts these tokens in front of and behind a text; null where both are
// missing.
struct TemplateToken {
  std::string text;
  int32_t id;
};
Json template_processing(const std::vector<TemplateToken>& before, const std::vector<TemplateToken>& after);

Json spm_normalizer(const SpmVocabulary& vocabulary);

std::string encode_base64(std::string_view bytes);

}  // namespace caravan::text
