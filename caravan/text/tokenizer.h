// A tokenizer equal to Hugging Face `tokenizers`: same ids, tokens, offsets and decoded text.
//
//   Tokenizer tokenizer = Tokenizer::from_json(read_file("tokenizer.json"), "tokenizer.json");
//   Encoding e = tokenizer.encode("Hello, world!");
//   std::string text = tokenizer.decode(e.ids);
//
// Thread-safe once built. Offsets count Unicode code points of the input, as the Python package reports them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caravan::text {

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<std::string> tokens;                     // filled where EncodeOptions::details
  std::vector<std::pair<uint32_t, uint32_t>> offsets;  // [begin, end) in code points of its own input
  std::vector<int32_t> type_ids;                       // 0 for the first text, 1 for the second of a pair
  std::vector<int32_t> special_tokens_mask;            // 1 where a post-processor or padding put the token
  std::vector<int32_t> attention_mask;                 // 0 where padding put the token
  std::vector<int32_t> word_ids;                       // pre-token index; -1 for special tokens
  std::vector<Encoding> overflowing;                   // what truncation cut off
};

struct EncodeOptions {
  bool add_special_tokens = true;
  bool details = true;        // false: only ids are filled, the fastest path
  bool parse_special = true;  // false: special tokens written in the text are encoded as plain text
};

struct Truncation {
  size_t max_length = 512, stride = 0;
  std::string strategy = "longest_first";  // "only_first", "only_second"
  std::string direction = "right";
};

struct Padding {
  std::optional<size_t> length;  // none: to the longest of the batch
  size_t pad_to_multiple_of = 0;
  int32_t pad_id = 0, pad_type_id = 0;
  std::string pad_token = "[PAD]", direction = "right";
};

// The vocabulary section of a GGUF file (tokenizer.ggml.*), as plain data.
struct GgufVocabulary {
  std::string model;  // "gpt2", "gemma4" (BPE with byte fallback), "llama", "bert", "t5"
  std::string pre;    // "smollm", "llama-bpe", "qwen2" ... ("gpt2" kind only)
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> token_types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::vector<std::string> merges;
  std::optional<int32_t> bos_id, eos_id, unknown_id, padding_id, separator_id, mask_id, cls_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
  std::optional<bool> lowercase, strip_accents;  // tokenizer.ggml.normalizer.*, "bert" only
  std::string precompiled_charsmap;
};

struct TokenizerParts;  // tokenizer_parts.h

class Tokenizer {
 public:
  // Throws corrupt_file (syntax, inconsistent vocabulary ...) or unsupported (a component with an unknown type).
  static Tokenizer from_json(std::string_view json, std::string_view where);
  static Tokenizer from_sentencepiece(std::string_view model_bytes, std::string_view where);
  static Tokenizer from_gguf(const GgufVocabulary& vocabulary, std::string_view where);
  static Tokenizer from_parts(TokenizerParts parts, std::string_view where);  // what the others are made of

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options = {}) const;
  // In parallel over the texts (threads 0: all cores); padded to a common length where padding is set.
  std::vector<Encoding> encode_batch(std::span<const std::string> texts, const EncodeOptions& options = {},
                                     int threads = 0) const;

  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  size_t vocab_size() const;  // added tokens included
  std::optional<int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(int32_t id) const;
  bool is_special(int32_t id) const;

  // What was odd about the file but no error: repeated pieces, empty added tokens. One line each.
  const std::vector<std::string>& warnings() const;

  void set_truncation(std::optional<Truncation> truncation);
  void set_padding(std::optional<Padding> padding);

  std::string to_json() const;  // a tokenizer.json that Hugging Face tokenizers loads with the same behaviour

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  friend class StreamDecoder;
};

// Turns ids into text one at a time, in constant time each; never emits half of a UTF-8 character, and its pieces
// joined equal decode().
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  std::string push(int32_t id);  // the text that became certain, often empty
  std::string finish();          // what is left (an unfinished character becomes U+FFFD, as decode() has it)

  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caravan::text
