// What turns a word into tokens: BPE, Unigram, WordPiece, WordLevel.
//
//   std::vector<Token> tokens;
//   model->tokenize("hello", tokens);            // {id, begin, end}: bytes of the word
//
// Source of the behaviour: Hugging Face tokenizers 0.23. BPE dropout is not applied.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/text/merge_table.h"
#include "caravan/text/pieces.h"
#include "caravan/text/trie.h"
#include "caravan/text/vocabulary.h"

namespace caravan::text {

struct Token {
  int32_t id;
  uint32_t begin, end;   // bytes of the word
  bool surface = false;  // its text is that of the word, not that of the id (unknown pieces)
};

class WordCache;

class Model {
 public:
  virtual ~Model() = default;
  virtual void tokenize(std::string_view word, std::vector<Token>& out) const = 0;
  virtual Json to_json() const = 0;  // the "model" member of tokenizer.json

  const Vocabulary& vocabulary() const { return vocabulary_; }
  virtual size_t size() const { return vocabulary_.size(); }

 protected:
  Model(Vocabulary vocabulary, Json options, std::string where);
  Json vocabulary_json() const;

  Vocabulary vocabulary_;
  Json options_;  // members of the file other than vocab and merges, as they came
  std::string where_;
  uint64_t key_;  // of this model in the threads' word caches
};

using MergeList = std::vector<std::pair<int32_t, int32_t>>;  // ids, in the order of their rank

// The merges of a file, its tokens in the order left, right, left, right ... Throws fault range for an unknown token.
MergeList find_merges(std::span<const std::string_view> tokens, const Vocabulary& vocabulary, std::string_view where);

class BpeModel : public Model {
 public:
  // options: unk_token, continuing_subword_prefix, end_of_word_suffix, fuse_unk, byte_fallback, ignore_merges.
  BpeModel(Vocabulary vocabulary, MergeList merges, Json options, std::string where);
  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  Json to_json() const override;

  // Whether every byte has a token in the byte-level alphabet: then the ByteLevel pre-tokenizer need not rewrite the
  // text and words come as raw bytes.
  bool has_byte_alphabet() const { return byte_alphabet_; }
  void set_raw_bytes(bool raw) { raw_bytes_ = raw; }

 private:
  struct Symbol {
    int32_t id;
    uint32_t size;  // bytes of the word; 0: merged into the one before
  };
  void read_options();
  void build_merges(const MergeList& merges);
  void find_junctions(const MergeList& merges);
  bool is_byte_piece(int32_t id) const;
  void tokenize_part(WordCache& cache, std::string_view word, uint32_t base, std::vector<Token>& out) const;
  void compute(std::string_view word, std::vector<Token>& out) const;
  bool whole_word(std::string_view word, std::vector<Token>& out) const;
  void split_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  int32_t unknown_id() const;
  void merge_short(std::vector<Symbol>& symbols) const;
  void merge_long(std::vector<Symbol>& symbols) const;

  MergeTable merges_;
  std::bitset<256 * 256> junctions_;  // what a merge may join: kind of the character before * 256 + kind of that behind
  std::optional<std::string> unknown_;
  std::string prefix_, suffix_;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
  bool byte_alphabet_ = false, raw_bytes_ = false, cuts_ = false;
  std::array<int32_t, 256> byte_symbol_{};  // of the byte-level alphabet
  std::array<int32_t, 256> byte_piece_{};   // <0x00> ... <0xFF>, -1 where missing
};

class UnigramModel : public Model {
 public:
  // scores[i] belongs to the piece with id i; texts may repeat (the last one wins when encoding).
  UnigramModel(std::vector<std::string> pieces, std::vector<double> scores, Json options, std::string where);
  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  Json to_json() const override;
  size_t size() const override { return scores_.size(); }
  const std::vector<double>& scores() const { return scores_; }

 private:
  void best_path(std::string_view word, std::vector<Token>& reversed) const;
  void emit(std::string_view word, Span span, std::vector<Token>& out) const;

  std::vector<double> scores_;
  Trie trie_;
  double unknown_score_ = 0;
  int32_t unknown_ = -1;
  bool byte_fallback_ = false;
  std::array<int32_t, 256> byte_piece_{};
};

class WordPieceModel : public Model {
 public:
  // options: unk_token, continuing_subword_prefix, max_input_chars_per_word.
  WordPieceModel(Vocabulary vocabulary, Json options, std::string where);
  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  Json to_json() const override;

 private:
  Trie initial_, continuing_;
  std::string unknown_;
  size_t max_characters_ = 100;
};

class WordLevelModel : public Model {
 public:
  WordLevelModel(Vocabulary vocabulary, Json options, std::string where);  // options: unk_token
  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  Json to_json() const override;

 private:
  std::string unknown_;
};

// The ids of <0x00> ... <0xFF>, -1 where missing. Throws fault range where some, but not all, are there.
std::array<int32_t, 256> find_byte_pieces(const Vocabulary& vocabulary, std::string_view where);

}  // namespace caravan::text
