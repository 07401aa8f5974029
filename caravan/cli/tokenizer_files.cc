#include "caravan/cli/tokenizer_files.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>

#include "caravan/base/error.h"
#include "caravan/cli/text_source.h"
#include "caravan/cli/tokenizer_source.h"
#include "caravan/text/precompiled_charsmap.h"

namespace caravan::cli {
namespace {

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581

struct Vocabulary {
  std::string model;
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  std::vector<std::string> merges;
};

// --- reading tokenizer.json
// -------------------------------------------------------------------------------------------
std::string type_of(const Json& component) { return get_string(component, "type", "tokenizer.json", ""); }

// All components of a possibly nested Sequence.
void flatten(const Json* component, std::vector<const Json*>& out, int depth = 0) {
  if (component == nullptr || !component->is_object() || depth > 16) return;
  for (const char* key : {"pretokenizers", "normalizers", "processors", "decoders"}) {
    if (const Json* parts = find_member(*component, key); parts != nullptr && parts->is_array()) {
      for (const Json& part : *parts) flatten(&part, out, depth + 1);
      return;
    }
  }
  out.push_back(component);
}

bool has_component(const Json& tokenizer, const char* where, std::string_view type) {
  std::vector<const Json*> parts;
  flatten(find_member(tokenizer, where), parts);
  return std::any_of(parts.begin(), parts.end(), [&](const Json* part) { return type_of(*part) == type; });
}

void place(Vocabulary& v, int64_t id, const std::string& token, TokenType type) {
  check(id >= 0 && id < std::ssize(v.tokens), ErrorCode::corrupt_file,
        "tokenizer.json: token id {} lies outside the vocabulary of {}", id, v.tokens.size());
  v.tokens[static_cast<size_t>(id)] = token, v.types[static_cast<size_t>(id)] = type;
}

int64_t id_of(const Json& value) {
  check(value.is_number_integer(), ErrorCode::corrupt_file, "tokenizer.json: a token id is no integer");
  return value.get<int64_t>();
}

// Rows of the embedding without a token of their own get a name that text cannot contain by accident. So do tokens
// that llama.cpp refuses: empty ones (it reads C strings, and a zero byte ends one), and all but one of those that come
// twice; an added token stays, else the last one, as in Hugging Face tokenizers.
void fill_holes(Vocabulary& v) {
  std::unordered_map<std::string_view, size_t> owner;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const bool readable = !v.tokens[i].empty() && v.tokens[i].find('\0') == std::string::npos;
    if (v.types[i] == 0 || !readable) {
      v.types[i] = 0;
      continue;
    }
    const auto [at, fresh] = owner.try_emplace(v.tokens[i], i);
    if (fresh) continue;
    const bool keeps_first = v.types[at->second] != kNormal;
    v.types[keeps_first ? i : at->second] = 0;
    if (!keeps_first) at->second = i;
  }
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.types[i] != 0) continue;
    v.tokens[i] = fmt::format("[PAD{}]", i), v.types[i] = kUnused;
    while (owner.contains(v.tokens[i])) v.tokens[i] += "_";
  }
}

// The tokenizer of a checkpoint as tokenizer.json has it, also where only a tokenizer.model is there; empty without
// one.
std::string tokenizer_json_of(const formats::Checkpoint& from) {
  if (std::string text = from.side_file("tokenizer.json"); !text.empty()) return text;
  return from.side_file("tokenizer.model").empty() ? "" : load_tokenizer(from.path()).to_json();
}

int64_t vocabulary_size(const Json& model, const Json& added, const Json& config) {
  int64_t size = get_int(config, "vocab_size", "config.json", {.min = 0, .max = 1 << 24}, 0);
  const Json& vocab = model.at("vocab");
  if (vocab.is_array()) size = std::max<int64_t>(size, std::ssize(vocab));
  if (vocab.is_object()) {
    for (const auto& [token, id] : vocab.items()) size = std::max(size, id_of(id) + 1);
  }
  for (const Json& token : added) size = std::max(size, get_int(token, "id", "tokenizer.json") + 1);
  check(size <= 1 << 24, ErrorCode::corrupt_file, "tokenizer.json: token ids up to {} are too large", size);
  return size;
}

void add_added_tokens(Vocabulary& v, const Json& added) {
  for (const Json& token : added) {
    const bool special = get_bool(token, "special", "tokenizer.json", false);
    place(v, get_int(token, "id", "tokenizer.json"), get_string(token, "content", "tokenizer.json"),
          special ? kControl : kUserDefined);
  }
}

// "a b" or ["a", "b"]: the two sides; llama.cpp wants one string with one space between.
std::pair<std::string, std::string> sides(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  check(merge.is_string(), ErrorCode::corrupt_file, "tokenizer.json: a merge is neither a string nor a pair");
  const std::string text = merge.get<std::string>();
  const size_t space = text.find(' ', 1);
  check(space != std::string::npos, ErrorCode::corrupt_file, "tokenizer.json: the merge '{}' has no two sides", text);
  return {text.substr(0, space), text.substr(space + 1)};
}

void add_bpe(Vocabulary& v, const Json& model, bool byte_level) {
  v.model = byte_level ? "gpt2" : "llama";
  for (const auto& [token, id] : model.at("vocab").items()) {
    const bool byte = !byte_level && token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
    place(v, id_of(id), token, byte ? kByte : kNormal);
  }
  const Json* merges = find_member(model, "merges");
  if (merges == nullptr || !merges->is_array()) return;
  if (byte_level) {
    for (const Json& merge : *merges) {
      const auto [left, right] = sides(merge);
      v.merges.push_back(left + " " + right);
    }
    return;
  }
  // SentencePiece merges the pair whose result has the highest score: minus the rank of the merge that makes it.
  std::unordered_map<std::string, float> ranks;
  for (const Json& merge : *merges) {
    const auto [left, right] = sides(merge);
    ranks.try_emplace(left + right, static_cast<float>(ranks.size()));
  }
  const float last = static_cast<float>(ranks.size());
  v.scores.assign(v.tokens.size(), 0);
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.types[i] != kNormal) continue;
    const auto rank = ranks.find(v.tokens[i]);
    v.scores[i] = -(rank == ranks.end() ? last : rank->second);
  }
}

void add_unigram(Vocabulary& v, const Json& model, const Warn& warn) {
  v.model = "t5";
  const bool bytes = get_bool(model, "byte_fallback", "tokenizer.json", false);
  if (bytes) warn("tokenizer.json: llama.cpp has no byte fallback for Unigram; unknown characters will differ");
  v.scores.assign(v.tokens.size(), 0);
  const Json& vocab = model.at("vocab");
  for (size_t i = 0; i < vocab.size(); ++i) {
    check(vocab[i].is_array() && vocab[i].size() == 2 && vocab[i][0].is_string() && vocab[i][1].is_number(),
          ErrorCode::corrupt_file, "tokenizer.json: piece {} is no [text, score]", i);
    const std::string piece = vocab[i][0].get<std::string>();
    const bool byte = bytes && piece.size() == 6 && piece.starts_with("<0x") && piece.back() == '>';
    place(v, static_cast<int64_t>(i), piece, byte ? kByte : kNormal);
    v.scores[i] = vocab[i][1].get<float>();
  }
}

// GGUF writes WordPiece the other way round: what begins a word has U+2581 in front, what BERT writes as ##x has
// nothing.
void add_wordpiece(Vocabulary& v, const Json& model) {
  v.model = "bert";
  const std::string prefix = get_string(model, "continuing_subword_prefix", "tokenizer.json", "##");
  const std::string unknown = get_string(model, "unk_token", "tokenizer.json", "[UNK]");
  for (const auto& [token, id] : model.at("vocab").items()) {
    if (token == unknown)
      place(v, id_of(id), token, kUnknown);
    else if (!prefix.empty() && token.starts_with(prefix))
      place(v, id_of(id), token.substr(prefix.size()), kNormal);
    else
      place(v, id_of(id), std::string(kBlank) + token, kNormal);
  }
}

// llama.cpp's BPE is byte-level or SentencePiece's with byte tokens; it ends the process at a character without a
// token.
bool is_known_bpe(const Json& model, bool byte_level) {
  const auto has = [&](const char* key) { return !get_string(model, key, "tokenizer.json", "").empty(); };
  if (has("end_of_word_suffix") || has("continuing_subword_prefix")) return false;
  return byte_level || model.at("vocab").contains("<0x00>");
}

std::optional<Vocabulary> read_vocabulary(const Json& tokenizer, const Json& config, const Warn& warn) {
  const Json* model = find_member(tokenizer, "model");
  check(model != nullptr && find_member(*model, "vocab") != nullptr, ErrorCode::corrupt_file,
        "tokenizer.json: no model with a vocab");
  static const Json kNone = Json::array();
  const Json* tokens = find_member(tokenizer, "added_tokens");
  const Json& added = tokens != nullptr && tokens->is_array() ? *tokens : kNone;
  const std::string type = get_string(*model, "type", "tokenizer.json", model->contains("merges") ? "BPE" : "");
  const bool unigram = type == "Unigram", wordpiece = type == "WordPiece";
  const bool byte_level =
      has_component(tokenizer, "pre_tokenizer", "ByteLevel") || has_component(tokenizer, "decoder", "ByteLevel");
  if (!unigram && !wordpiece && (type != "BPE" || !is_known_bpe(*model, byte_level))) return std::nullopt;
  Vocabulary v;
  v.tokens.resize(static_cast<size_t>(vocabulary_size(*model, added, config)));
  v.types.assign(v.tokens.size(), 0);
  unigram ? add_unigram(v, *model, warn) : wordpiece ? add_wordpiece(v, *model) : add_bpe(v, *model, byte_level);
  add_added_tokens(v, added);
  if (const Json* unknown = find_member(*model, "unk_token");
      unknown != nullptr && unknown->is_string() && !byte_level) {
    for (size_t i = 0; i < v.tokens.size(); ++i) {
      if (v.tokens[i] == *unknown) v.types[i] = kUnknown;
    }
  }
  if (unigram) {
    const int64_t unknown = get_int(*model, "unk_id", "tokenizer.json", {}, -1);
    if (unknown >= 0 && unknown < std::ssize(v.types)) v.types[static_cast<size_t>(unknown)] = kUnknown;
  }
  fill_holes(v);
  if (!v.scores.empty()) v.scores.resize(v.tokens.size());
  return v;
}

// --- special tokens
// ----------------------------------------------------------------------------------------------------
std::optional<int64_t> first_id(const Json& config, const std::string& key) {
  const Json* value = find_member(config, key);
  if (value != nullptr && value->is_array() && !value->empty()) value = &value->front();
  if (value == nullptr || !value->is_number_integer()) return std::nullopt;
  return value->get<int64_t>();
}

void add_special_tokens(GgufMetadata& out, const formats::Checkpoint& from, const text::Tokenizer& tokenizer,
                        const Json& model) {
  static constexpr std::pair<const char*, const char*> kNames[] = {
      {"bos", "bos"},       {"eos", "eos"}, {"unk", "unknown"}, {"pad", "padding"},
      {"sep", "seperator"}, {"cls", "cls"}, {"mask", "mask"}};
  // What the post-processor really adds around a text.
  const std::vector<int32_t> empty = tokenizer.encode("", {.add_special_tokens = true, .details = false}).ids;
  const bool bert = get_string(model, "type", "tokenizer.json", "") == "WordPiece";
  std::optional<int64_t> bos, eos;
  for (const auto& [name, gguf_name] : kNames) {
    std::string token = special_token(from.path(), std::string(name) + "_token");
    const bool unknown = std::string_view(name) == "unk";
    if (token.empty() && unknown && model.contains("unk_token") && model["unk_token"].is_string())
      token = model["unk_token"].get<std::string>();
    std::optional<int64_t> id = token.empty() ? std::nullopt : tokenizer.token_to_id(token);
    if (!id.has_value() && unknown) id = first_id(model, "unk_id");  // Unigram: llama.cpp would take 2
    if (!id.has_value()) id = first_id(from.config(), std::string(name) + "_token_id");
    // llama.cpp puts a BERT's bos in front and its separator behind: [CLS] and [SEP].
    if (bert && empty.size() == 2 && std::string_view(name) == "bos") id = empty.front();
    if (bert && empty.size() == 2 && std::string_view(name) == "sep") id = empty.back();
    if (!id.has_value() || *id < 0 || *id >= 1 << 24) continue;
    out.emplace_back(std::string("tokenizer.ggml.") + gguf_name + "_token_id", static_cast<uint32_t>(*id));
    if (std::string_view(name) == "bos") bos = id;
    if (std::string_view(name) == "eos") eos = id;
  }
  out.emplace_back("tokenizer.ggml.add_bos_token", bos.has_value() && !empty.empty() && empty.front() == *bos);
  out.emplace_back("tokenizer.ggml.add_eos_token",
                   eos.has_value() && !empty.empty() && empty.back() == *eos && (empty.size() > 1 || bos != eos));
}

bool adds_space_prefix(const Json& tokenizer) {
  std::vector<const Json*> parts;
  flatten(find_member(tokenizer, "normalizer"), parts);
  flatten(find_member(tokenizer, "pre_tokenizer"), parts);
  return std::any_of(parts.begin(), parts.end(), [](const Json* part) {
    if (type_of(*part) == "Prepend") return true;
    if (type_of(*part) != "Metaspace") return false;
    const std::string scheme = get_string(*part, "prepend_scheme", "tokenizer.json", "");
    return scheme.empty() ? get_bool(*part, "add_prefix_space", "tokenizer.json", true) : scheme != "never";
  });
}

// The normalizer as far as llama.cpp has one for the kind of vocabulary.
void add_normalizer(GgufMetadata& out, const Json& tokenizer, const std::string& kind, const Warn& warn) {
  std::vector<const Json*> parts;
  flatten(find_member(tokenizer, "normalizer"), parts);
  bool lowercase = false, accents = false, spaces = false, forms = false;
  for (const Json* part : parts) {
    const std::string type = type_of(*part);
    if (type == "BertNormalizer") {
      lowercase = get_bool(*part, "lowercase", "tokenizer.json", true);
      accents = get_bool(*part, "strip_accents", "tokenizer.json", lowercase);
    }
    lowercase = lowercase || type == "Lowercase";
    accents = accents || type == "StripAccents";
    forms = forms || type.starts_with("NF") || type == "Nmt";
    const Json* pattern = type == "Replace" ? find_member(*part, "pattern") : nullptr;
    spaces = spaces || (pattern != nullptr && pattern->value("Regex", "") == " {2,}");
    if (type == "Precompiled" && kind == "t5") {
      const std::string charsmap =
          text::decode_base64(get_string(*part, "precompiled_charsmap", "tokenizer.json", ""), "tokenizer.json");
      if (!charsmap.empty())
        out.emplace_back("tokenizer.ggml.precompiled_charsmap", std::vector<uint8_t>(charsmap.begin(), charsmap.end()));
    }
  }
  if (kind == "bert") {
    out.emplace_back("tokenizer.ggml.normalizer.lowercase", lowercase);
    out.emplace_back("tokenizer.ggml.normalizer.strip_accents", accents);
  }
  if (kind == "t5") {
    out.emplace_back("tokenizer.ggml.remove_extra_whitespaces", spaces);
    if (lowercase || accents || forms)
      warn("tokenizer.json: llama.cpp normalizes this vocabulary by a charsmap only; its ids may differ");
  }
}

}  // namespace

std::string gguf_pre_name(const Json& pre_tokenizer) {
  // By the Split patterns; a ByteLevel with its own pattern is GPT-2's, after Digits it is SmolLM's.
  struct Pattern {
    std::string_view name, pattern;
  };
  static constexpr Pattern kPatterns[] = {
      {"llama-bpe",
       R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"qwen2",
       R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"gpt-4o",
       R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      {"tekken",
       R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
  };
  std::vector<const Json*> parts;
  flatten(&pre_tokenizer, parts);
  bool digits = false;
  for (const Json* part : parts) {
    const std::string type = type_of(*part);
    if (type == "Digits") digits = get_bool(*part, "individual_digits", "tokenizer.json", false);
    if (type == "Split") {
      const Json* pattern = find_member(*part, "pattern");
      const Json* regex = pattern == nullptr ? nullptr : find_member(*pattern, "Regex");
      for (const Pattern& known : kPatterns) {
        if (regex != nullptr && *regex == known.pattern) return std::string(known.name);
      }
    }
    if (type == "ByteLevel" && get_bool(*part, "use_regex", "tokenizer.json", true)) return digits ? "smollm" : "gpt-2";
  }
  return "default";
}

GgufMetadata gguf_tokenizer_metadata(const formats::Checkpoint& from, const Warn& warn) {
  GgufMetadata out;
  const std::string text = tokenizer_json_of(from);
  if (text.empty()) {
    warn(from.path() +
         ": no tokenizer.json or tokenizer.model; the GGUF gets no vocabulary, and llama.cpp will not load it");
    return out;
  }
  const Json tokenizer = parse_json(text, "tokenizer.json");
  const std::optional<Vocabulary> v = read_vocabulary(tokenizer, from.config(), warn);
  if (!v.has_value()) {
    warn(from.path() + ": GGUF cannot hold this kind of tokenizer; the file gets no vocabulary");
    return out;
  }
  out.emplace_back("tokenizer.ggml.model", v->model);
  if (v->model == "gpt2") {
    const Json* pre = find_member(tokenizer, "pre_tokenizer");
    const std::string name = pre == nullptr ? "default" : gguf_pre_name(*pre);
    if (name == "default")
      warn(from.path() + ": llama.cpp has no name for this pre-tokenizer; \"default\" may split text differently");
    out.emplace_back("tokenizer.ggml.pre", name);
  } else {
    out.emplace_back("tokenizer.ggml.pre", std::string("default"));
    if (v->model != "bert") out.emplace_back("tokenizer.ggml.add_space_prefix", adds_space_prefix(tokenizer));
    add_normalizer(out, tokenizer, v->model, warn);
  }
  out.emplace_back("tokenizer.ggml.tokens", v->tokens);
  if (!v->scores.empty()) out.emplace_back("tokenizer.ggml.scores", v->scores);
  out.emplace_back("tokenizer.ggml.token_type", v->types);
  if (v->model == "gpt2") out.emplace_back("tokenizer.ggml.merges", v->merges);  // llama.cpp wants the list, if empty
  add_special_tokens(out, from, text::Tokenizer::from_json(text, "tokenizer.json"), tokenizer["model"]);
  try {
    out.emplace_back("tokenizer.chat_template", chat_template_source(from.path(), false));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
  }
  return out;
}

std::map<std::string, std::string> tokenizer_files(const formats::Checkpoint& from, const Warn& warn) {
  std::map<std::string, std::string> files;
  try {
    files["tokenizer.json"] = load_tokenizer(from.path()).to_json();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    warn(from.path() + ": no vocabulary inside; the folder gets no tokenizer");
    return files;
  }
  const std::string text = from.side_file("tokenizer_config.json");
  Json config = text.empty() ? Json::object() : parse_json(text, from.path() + " (tokenizer_config.json)");
  if (const Json* source = find_member(config, "chat_template"); source != nullptr && source->is_string()) {
    files["chat_template.jinja"] = source->get<std::string>();
    config.erase("chat_template");
  }
  if (!config.contains("tokenizer_class")) config["tokenizer_class"] = "PreTrainedTokenizerFast";
  if (const Json* context = find_member(from.config(), "max_position_embeddings"); context != nullptr)
    config["model_max_length"] = *context;
  files["tokenizer_config.json"] = dump_json(config) + "\n";
  return files;
}

}  // namespace caravan::cli
