// The pipeline of a Tokenizer: added tokens, normalizer, pre-tokenizer, model, truncation, post-processor, padding.
// Reference: Hugging Face tokenizers 0.23 (TokenizerImpl). Reading of files is in tokenizer_json.cc.
#include "caravan/text/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "caravan/base/error.h"
#include "caravan/text/decoder.h"
#include "caravan/text/encoding.h"
#include "caravan/text/pieces.h"
#include "caravan/text/post_processor.h"
#include "caravan/text/pre_tokenizer.h"
#include "caravan/text/tokenizer_parts.h"
#include "caravan/text/unicode.h"

namespace caravan::text {

struct Tokenizer::Impl {
  TokenizerParts parts;
  AddedTokens added;
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<PostProcessor> post_processor;
  DecoderChain decoder{{}};
  bool always_track = false;

  Impl(TokenizerParts p, std::string_view where);
  Encoding encode_text(std::string_view text, int32_t type_id, const EncodeOptions& options) const;
  Encoding finish(Encoding&& first, Encoding* second, const EncodeOptions& options) const;
  size_t added_tokens(bool pair) const { return post_processor ? post_processor->added_tokens(pair) : 0; }
  // The text of an id as decoders get it; false for an id that does not exist.
  bool token_text(int32_t id, std::string_view& text) const;
};

namespace {

// Byte offsets to code point offsets.
class CharacterOffsets {
 public:
  CharacterOffsets(std::string_view text, bool wanted)
      : size_(static_cast<uint32_t>(text.size())), ascii_(!wanted || is_ascii(text)) {
    if (ascii_) return;
    index_.reserve(text.size());
    uint32_t n = 0;
    for (char c : text) {
      if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++n;
      index_.push_back(n - 1);
    }
  }

  std::pair<uint32_t, uint32_t> operator()(Span bytes) const {
    if (bytes.begin >= size_) return {bytes.begin, bytes.end};  // outside of the text: the reference leaves it in bytes
    if (bytes.end < size_) return {at(bytes.begin), at(bytes.end)};
    return {at(bytes.begin), bytes.end > 0 && bytes.end - 1 < size_ ? at(bytes.end - 1) + 1 : at(bytes.begin) + 2};
  }

 private:
  uint32_t at(uint32_t byte) const { return ascii_ ? byte : index_[byte]; }
  uint32_t size_;
  bool ascii_;
  std::vector<uint32_t> index_;
};

}  // namespace

Tokenizer::Impl::Impl(TokenizerParts p, std::string_view where) : parts(std::move(p)) {
  check_file(parts.model != nullptr, FileFault::json, where, "a tokenizer needs a model");
  normalizer = make_normalizer(parts.normalizer, where);
  pre_tokenizer = make_pre_tokenizer(parts.pre_tokenizer, where);
  post_processor = make_post_processor(parts.post_processor, where);
  decoder = make_decoder(parts.decoder, where);
  always_track =
      pre_tokenizer && pre_tokenizer->needs_origin() && (normalizer || parts.pre_tokenizer.contains("pretokenizers"));
  auto* bpe = dynamic_cast<BpeModel*>(parts.model.get());
  if (bpe && bpe->has_byte_alphabet() && pre_tokenizer && pre_tokenizer->defer_byte_level()) bpe->set_raw_bytes(true);
  const Vocabulary& vocabulary = parts.model->vocabulary();
  if (vocabulary.repeated() > 0 && parts.warnings.empty())
    parts.warnings.push_back(fmt::format("{} tokens come twice (first \"{}\"): only one of each can be encoded",
                                         vocabulary.repeated(), vocabulary.first_repeated()));
  const auto empty = std::count_if(parts.added_tokens.begin(), parts.added_tokens.end(),
                                   [](const AddedToken& token) { return token.content.empty(); });
  if (empty > 0) parts.warnings.push_back(fmt::format("{} added tokens are empty and ignored", empty));
  for (const AddedToken& token : parts.added_tokens) added.add(token, *parts.model, normalizer.get());
  added.build();
}

bool Tokenizer::Impl::token_text(int32_t id, std::string_view& text) const {
  if (const std::string* token = added.text(id)) {
    text = *token;
    return true;
  }
  if (!parts.model->vocabulary().has_id(id)) return false;
  text = parts.model->vocabulary().text(id);
  return true;
}

Encoding Tokenizer::Impl::encode_text(std::string_view text, int32_t type_id, const EncodeOptions& options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) text = repaired = repair_utf8(text);
  Pieces pieces(text, options.details || always_track);
  added.extract(pieces, normalizer.get(), options.parse_special);
  if (pre_tokenizer) pre_tokenizer->apply(pieces);
  Encoding e;
  thread_local std::vector<Token> tokens;
  const CharacterOffsets offsets(text, options.details);
  const size_t expected = std::max(pieces.list().size() + pieces.list().size() / 4, text.size() / 5);
  e.ids.reserve(expected);
  if (options.details) {
    e.offsets.reserve(expected);
    e.tokens.reserve(expected);
    e.word_ids.reserve(expected);
  }
  int32_t word = -1;
  for (const Piece& piece : pieces.list()) {
    ++word;
    const std::string_view piece_text = pieces.text(piece);
    tokens.clear();
    if (piece.id >= 0)
      tokens.push_back({piece.id, 0, static_cast<uint32_t>(piece_text.size()), true});
    else
      parts.model->tokenize(piece_text, tokens);
    for (const Token& t : tokens) e.ids.push_back(t.id);
    if (!options.details) continue;
    for (const Token& t : tokens) {
      e.offsets.push_back(offsets(pieces.source(piece, t.begin, t.end)));
      e.tokens.emplace_back(t.surface ? piece_text.substr(t.begin, t.end - t.begin)
                                      : parts.model->vocabulary().text(t.id));
    }
    for (size_t i = 0; i < tokens.size(); ++i) e.word_ids.push_back(word);
  }
  if (options.details) {
    e.type_ids.assign(e.ids.size(), type_id);
    e.special_tokens_mask.assign(e.ids.size(), 0);
    e.attention_mask.assign(e.ids.size(), 1);
  }
  return e;
}

Encoding Tokenizer::Impl::finish(Encoding&& first, Encoding* second, const EncodeOptions& options) const {
  if (parts.truncation) {
    Truncation truncation = *parts.truncation;
    const size_t added_count = options.add_special_tokens ? added_tokens(second != nullptr) : 0;
    // A limit below the special tokens alone is no limit, as in the reference.
    truncation.max_length = truncation.max_length >= added_count ? truncation.max_length - added_count : ~size_t{0};
    truncate_encodings(first, second, truncation);
  }
  std::vector<Encoding> list;
  list.push_back(std::move(first));
  if (second) list.push_back(std::move(*second));
  if (post_processor) {
    for (size_t i = 0; i < list.size(); ++i)
      std::fill(list[i].type_ids.begin(), list[i].type_ids.end(), static_cast<int32_t>(i));
    post_processor->process(list, options.add_special_tokens, options.details);
  }
  Encoding out;
  for (Encoding& part : list) merge(out, std::move(part));
  if (parts.padding) pad_all(std::span(&out, 1), *parts.padding);
  return out;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_parts(TokenizerParts parts, std::string_view where) {
  return Tokenizer(std::make_unique<Impl>(std::move(parts), where));
}

Tokenizer Tokenizer::from_json(std::string_view json, std::string_view where) {
  return from_parts(parse_tokenizer_json(json, where), where);
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return impl_->finish(impl_->encode_text(text, 0, options), nullptr, options);
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options) const {
  Encoding b = impl_->encode_text(second, 1, options);
  return impl_->finish(impl_->encode_text(first, 0, options), &b, options);
}

std::vector<Encoding> Tokenizer::encode_batch(std::span<const std::string> texts, const EncodeOptions& options,
                                              int threads) const {
  std::vector<Encoding> out(texts.size());
  constexpr size_t kChunk = 8;  // texts a thread takes at a time
  size_t workers = threads > 0 ? static_cast<size_t>(threads) : std::max(1u, std::thread::hardware_concurrency());
  workers = std::min(workers, (texts.size() + kChunk - 1) / kChunk);
  std::atomic<size_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  auto work = [&] {
    try {
      for (size_t begin; (begin = next.fetch_add(kChunk)) < texts.size();)
        for (size_t i = begin; i < std::min(begin + kChunk, texts.size()); ++i) out[i] = encode(texts[i], options);
    } catch (...) {
      std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
      next = texts.size();
    }
  };
  std::vector<std::thread> pool;
  for (size_t i = 1; i < workers; ++i) pool.emplace_back(work);
  work();
  for (std::thread& t : pool) t.join();
  if (error) std::rethrow_exception(error);
  if (impl_->parts.padding) pad_all(out, *impl_->parts.padding);
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  StreamDecoder stream(*this, skip_special_tokens);
  std::string out;
  for (int32_t id : ids) out += stream.push(id);
  return out += stream.finish();
}

size_t Tokenizer::vocab_size() const {
  const Vocabulary& vocabulary = impl_->parts.model->vocabulary();
  size_t n = impl_->parts.model->size();
  for (const auto& [content, id] : impl_->added.ids()) n += vocabulary.find(content) < 0;
  return n;
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (auto id = impl_->added.find(std::string(token))) return id;
  const int32_t id = impl_->parts.model->vocabulary().find(token);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  std::string_view text;
  if (!impl_->token_text(id, text)) return std::nullopt;
  return std::string(text);
}

bool Tokenizer::is_special(int32_t id) const {
  auto it = impl_->added.by_id().find(id);
  return it != impl_->added.by_id().end() && it->second.special;
}

const std::vector<std::string>& Tokenizer::warnings() const { return impl_->parts.warnings; }

void Tokenizer::set_truncation(std::optional<Truncation> truncation) {
  if (truncation) {
    const size_t added = impl_->added_tokens(false);
    const std::string& s = truncation->strategy;
    check(s == "longest_first" || s == "only_first" || s == "only_second", ErrorCode::invalid_argument,
          "truncation strategy \"{}\" is unknown: use longest_first, only_first or only_second", s);
    check(truncation->direction == "right" || truncation->direction == "left", ErrorCode::invalid_argument,
          "truncation direction \"{}\" is unknown: use right or left", truncation->direction);
    check(truncation->max_length < added || truncation->max_length - added >= truncation->stride,
          ErrorCode::invalid_argument, "truncation stride {} must be smaller than max_length {} less {} special tokens",
          truncation->stride, truncation->max_length, added);
  }
  impl_->parts.truncation = std::move(truncation);
}

void Tokenizer::set_padding(std::optional<Padding> padding) {
  if (padding)
    check(padding->direction == "right" || padding->direction == "left", ErrorCode::invalid_argument,
          "padding direction \"{}\" is unknown: use right or left", padding->direction);
  impl_->parts.padding = std::move(padding);
}

std::string Tokenizer::to_json() const {
  const TokenizerParts& parts = impl_->parts;
  Json out = Json::object();
  out["version"] = "1.0";
  out["truncation"] = truncation_json(parts.truncation);
  out["padding"] = padding_json(parts.padding);
  Json added = Json::array();
  for (const auto& [id, token] : impl_->added.by_id())
    added.push_back(Json{{"id", id},
                         {"content", token.content},
                         {"single_word", token.single_word},
                         {"lstrip", token.lstrip},
                         {"rstrip", token.rstrip},
                         {"normalized", token.normalized},
                         {"special", token.special}});
  out["added_tokens"] = std::move(added);
  out["normalizer"] = parts.normalizer;
  out["pre_tokenizer"] = parts.pre_tokenizer;
  out["post_processor"] = parts.post_processor;
  out["decoder"] = parts.decoder;
  out["model"] = parts.model->to_json();
  for (const auto& [key, value] : parts.other.items()) out[key] = value;
  return dump_json(out);
}

struct StreamDecoder::State {
  const Tokenizer::Impl* tokenizer;
  bool skip_special_tokens;
  DecoderRun run;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : state_(std::make_unique<State>(
          State{tokenizer.impl_.get(), skip_special_tokens, tokenizer.impl_->decoder.start()})) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  std::string_view text;
  std::string out;
  if (!state_->tokenizer->token_text(id, text)) return out;  // ids that do not exist say nothing
  if (state_->skip_special_tokens && state_->tokenizer->added.is_special(text)) return out;
  state_->run.push(text, out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  state_->run.finish(out);
  return out;
}

}  // namespace caravan::text
