// Shared parts of the trainers (trainer_parts.h), and the writer of SentencePiece .model files.
#include "caravan/text/trainer_parts.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/text/added_tokens.h"
#include "caravan/text/byte_level.h"
#include "caravan/text/normalizer.h"
#include "caravan/text/pieces.h"
#include "caravan/text/pre_tokenizer.h"
#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

constexpr std::string_view kWhere = "training";

SpmVocabulary metaspace_settings(const TrainOptions& options) {
  SpmVocabulary v;
  v.byte_fallback = options.byte_fallback;
  return v;
}

// Protobuf fields, by hand: varints, length-delimited and 32-bit ones are all that ModelProto needs.
class Writer {
 public:
  void number(uint32_t field, uint64_t value) { varint(field << 3), varint(value); }
  void text(uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes += value;
  }
  void real(uint32_t field, float value) {
    varint(field << 3 | 5);
    char raw[4];
    std::memcpy(raw, &value, 4);
    bytes.append(raw, 4);
  }
  std::string bytes;

 private:
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) bytes += static_cast<char>(v | 0x80);
    bytes += static_cast<char>(v);
  }
};

}  // namespace

TextSource texts_of(const std::vector<std::string>& texts) {
  return [&texts, i = size_t{0}](std::string& text) mutable {
    if (i >= texts.size()) return false;
    text = texts[i++];
    return true;
  };
}

TextSource lines_of(std::vector<std::string> paths) {
  struct State {
    std::vector<std::string> paths;
    size_t next = 0, at = 0;
    std::shared_ptr<const MappedFile> file;
  };
  auto state = std::make_shared<State>(State{std::move(paths), 0, 0, nullptr});
  return [state](std::string& text) {
    while (state->file == nullptr || state->at >= state->file->bytes().size()) {
      if (state->file) state->file->check();
      if (state->next == state->paths.size()) return false;
      state->file = MappedFile::open(state->paths[state->next++]);
      state->at = 0;
    }
    const auto bytes = state->file->bytes();
    const std::string_view rest(reinterpret_cast<const char*>(bytes.data()) + state->at, bytes.size() - state->at);
    const size_t end = std::min(rest.find('\n'), rest.size());
    text = rest.substr(0, end);
    if (text.ends_with('\r')) text.pop_back();
    state->at += end + 1;
    return true;
  };
}

Json training_normalizer(const TrainOptions& options) {
  if (!options.byte_level) {
    SpmVocabulary v = metaspace_settings(options);
    return spm_normalizer(v);
  }
  if (options.normalizer.empty()) return nullptr;
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"nfc", "NFC"}, {"nfkc", "NFKC"}, {"lowercase", "Lowercase"}};
  for (const auto& [name, type] : kNames) {
    if (name == options.normalizer) return Json{{"type", type}};
  }
  fail(ErrorCode::invalid_argument, "normalizer \"{}\" is unknown; nfc, nfkc and lowercase are known",
       options.normalizer);
}

Json training_pre_tokenizer(const TrainOptions& options) {
  Json json = Json::object();
  if (options.byte_level) {
    json["type"] = "ByteLevel";
    json["add_prefix_space"] = false;
    json["trim_offsets"] = true;
    json["use_regex"] = true;
  } else {
    json["type"] = "Metaspace";
    json["replacement"] = "\xe2\x96\x81";
    json["prepend_scheme"] = "never";
    json["split"] = true;
  }
  return json;
}

std::vector<CountedWord> count_words(const TextSource& source, const TrainOptions& options) {
  const auto normalizer = make_normalizer(training_normalizer(options), kWhere);
  const auto pre_tokenizer = make_pre_tokenizer(training_pre_tokenizer(options), kWhere);
  AddedTokens none;
  none.build();
  std::unordered_map<std::string, size_t> index;
  std::vector<CountedWord> words;
  size_t texts = 0;
  for (std::string text; source(text);) {
    if (!is_valid_utf8(text)) text = repair_utf8(text);
    Pieces pieces(text, false);
    none.extract(pieces, normalizer.get(), true);
    pre_tokenizer->apply(pieces);
    for (const Piece& piece : pieces.list()) {
      const auto [it, added] = index.try_emplace(std::string(pieces.text(piece)), words.size());
      if (added) words.push_back({it->first, 0});
      ++words[it->second].count;
    }
    if (options.progress && ++texts % 10'000 == 0) options.progress("reading", texts, 0);
  }
  check(!words.empty(), ErrorCode::invalid_argument, "there is no text to train on");
  return words;
}

std::vector<std::string> characters_of(std::string_view text) {
  std::vector<std::string> out;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    while (end < text.size() && (text[end] & 0xc0) == 0x80) ++end;
    out.emplace_back(text.substr(i, end - i));
    i = end;
  }
  return out;
}

std::vector<std::string> byte_level_alphabet() {
  std::vector<std::string> out(256);
  for (size_t b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    append_byte_level(out[b], std::string_view(&byte, 1));
  }
  std::sort(out.begin(), out.end());
  return out;
}

TrainedTokenizer finish_byte_level(std::unique_ptr<Model> model, const TrainOptions& options) {
  TokenizerParts parts;
  parts.model = std::move(model);
  parts.normalizer = training_normalizer(options);
  parts.pre_tokenizer = training_pre_tokenizer(options);
  parts.decoder = Json{{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  for (const std::string& token : options.special_tokens)
    parts.added_tokens.push_back({.content = token, .normalized = false, .special = true});
  return {Tokenizer::from_parts(std::move(parts), kWhere), {}};
}

size_t reserved_tokens(const TrainOptions& options) {
  const bool has_unknown =
      std::find(options.special_tokens.begin(), options.special_tokens.end(), "<unk>") != options.special_tokens.end();
  return options.special_tokens.size() + (has_unknown ? 0 : 1) + (options.byte_fallback ? 256 : 0);
}

TrainedTokenizer finish_metaspace(SpmKind kind, const std::vector<std::pair<std::string, double>>& pieces,
                                  const TrainOptions& options) {
  SpmVocabulary v = metaspace_settings(options);
  v.kind = kind;
  const auto add = [&](std::string text, double score, SpmPiece type) {
    v.pieces.push_back(std::move(text));
    v.scores.push_back(static_cast<float>(score));
    v.types.push_back(type);
  };
  const auto& specials = options.special_tokens;
  if (std::find(specials.begin(), specials.end(), "<unk>") == specials.end()) add("<unk>", 0, SpmPiece::unknown);
  for (const std::string& token : specials) add(token, 0, token == "<unk>" ? SpmPiece::unknown : SpmPiece::control);
  for (int b = 0; options.byte_fallback && b < 256; ++b) add(fmt::format("<0x{:02X}>", b), 0, SpmPiece::byte);
  for (const auto& [text, score] : pieces) add(text, score, SpmPiece::normal);
  std::string bytes = write_sentencepiece(v);
  return {Tokenizer::from_parts(make_spm_parts(std::move(v), kWhere), kWhere), std::move(bytes)};
}

std::string write_sentencepiece(const SpmVocabulary& v) {
  Writer model, trainer, normalizer;
  const auto id_of = [&](std::string_view text) {
    const auto it = std::find(v.pieces.begin(), v.pieces.end(), text);
    return it == v.pieces.end() ? ~uint64_t{0} : static_cast<uint64_t>(it - v.pieces.begin());  // -1: there is none
  };
  for (size_t i = 0; i < v.pieces.size(); ++i) {
    Writer piece;
    piece.text(1, v.pieces[i]);
    piece.real(2, v.scores[i]);
    if (v.types[i] != SpmPiece::normal) piece.number(3, static_cast<uint64_t>(v.types[i]));
    model.text(1, piece.bytes);
  }
  trainer.number(3, static_cast<uint64_t>(v.kind) + 1);
  trainer.number(4, v.pieces.size());
  if (v.whitespace_as_suffix) trainer.number(24, 1);
  if (v.byte_fallback) trainer.number(35, 1);
  trainer.number(40, id_of("<unk>"));
  trainer.number(41, id_of("<s>"));
  trainer.number(42, id_of("</s>"));
  trainer.number(43, id_of("<pad>"));
  model.text(2, trainer.bytes);
  normalizer.text(1, v.precompiled_charsmap.empty() ? "identity" : "user_defined");
  if (!v.precompiled_charsmap.empty()) normalizer.text(2, v.precompiled_charsmap);
  normalizer.number(3, v.add_dummy_prefix);
  normalizer.number(4, v.remove_extra_whitespaces);
  normalizer.number(5, v.escape_whitespaces);
  model.text(3, normalizer.bytes);
  return std::move(model.bytes);
}

}  // namespace caravan::text
