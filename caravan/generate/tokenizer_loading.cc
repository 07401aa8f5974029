// Formats answer for the small Hugging Face files (Checkpoint::side_file), so only the vocabulary itself differs.
#include "caravan/generate/tokenizer_loading.h"

#include "caravan/base/error.h"
#include "caravan/base/json.h"
#include "caravan/formats/gguf_checkpoint.h"
#include "caravan/formats/gguf_vocabulary.h"

namespace caravan::generate {
namespace {

Json json_file(const formats::Checkpoint& checkpoint, const std::string& name) {
  const std::string text = checkpoint.side_file(name);
  if (text.empty()) return Json::object();
  const std::string where = checkpoint.place_of(name);
  Json json = parse_json(text, where);
  check_file(json.is_object(), FileFault::type, where, "expected a JSON object");
  return json;
}

std::optional<int32_t> special_id(const formats::GgufFile& file, std::string_view kind) {
  const std::optional<int64_t> id = formats::gguf_special_id(file, kind);
  return id ? std::optional(static_cast<int32_t>(*id)) : std::nullopt;
}

std::optional<bool> flag(const formats::GgufFile& file, std::string_view key) {
  return file.has(key) ? std::optional(file.get_bool(key)) : std::nullopt;
}

// A rank file is text: base64, a space, a number.
bool is_rank_file(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  const size_t space = line.find(' ');
  return space != std::string_view::npos && space > 0 &&
         line.find_first_not_of("0123456789\r", space + 1) == std::string_view::npos &&
         line.substr(0, space).find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
             std::string_view::npos;
}

// A token is written as its text or as an object with "content".
Json token_text(const Json& token) { return token.is_object() ? token.value("content", Json()) : token; }

}  // namespace

text::GgufVocabulary read_gguf_vocabulary(const formats::GgufFile& file) {
  formats::check_gguf_vocabulary(file);
  text::GgufVocabulary v;
  v.model = file.get_string("tokenizer.ggml.model");
  v.pre = file.get_string("tokenizer.ggml.pre", "");
  v.tokens = file.get_strings("tokenizer.ggml.tokens");
  v.scores = file.get_floats("tokenizer.ggml.scores");
  for (int64_t type : file.get_ints("tokenizer.ggml.token_type")) v.token_types.push_back(static_cast<int32_t>(type));
  v.merges = file.get_strings("tokenizer.ggml.merges");
  v.bos_id = special_id(file, "bos");
  v.eos_id = special_id(file, "eos");
  v.unknown_id = special_id(file, "unk");
  v.padding_id = special_id(file, "pad");
  v.separator_id = special_id(file, "sep");
  v.mask_id = special_id(file, "mask");
  v.cls_id = special_id(file, "cls");
  v.add_bos = flag(file, "tokenizer.ggml.add_bos_token");
  v.add_eos = flag(file, "tokenizer.ggml.add_eos_token");
  v.add_space_prefix = flag(file, "tokenizer.ggml.add_space_prefix");
  v.remove_extra_whitespaces = flag(file, "tokenizer.ggml.remove_extra_whitespaces");
  v.lowercase = flag(file, "tokenizer.ggml.normalizer.lowercase");
  v.strip_accents = flag(file, "tokenizer.ggml.normalizer.strip_accents");
  v.precompiled_charsmap = file.get_bytes("tokenizer.ggml.precompiled_charsmap");
  return v;
}

std::optional<text::Tokenizer> load_tokenizer(const formats::Checkpoint& checkpoint) {
  const std::string json = checkpoint.side_file("tokenizer.json");
  if (!json.empty()) return text::Tokenizer::from_json(json, checkpoint.place_of("tokenizer.json"));
  const formats::GgufFile* gguf = formats::gguf_file(checkpoint);
  if (gguf != nullptr && gguf->has("tokenizer.ggml.tokens")) {
    return text::Tokenizer::from_gguf(read_gguf_vocabulary(*gguf), checkpoint.path());
  }
  const std::string model = checkpoint.side_file("tokenizer.model");
  if (model.empty()) return std::nullopt;
  const std::string where = checkpoint.place_of("tokenizer.model");
  if (is_rank_file(model)) return text::Tokenizer::from_json(tokenizer_json_of_ranks(model, where), where);
  return text::Tokenizer::from_sentencepiece(model, where);
}

std::optional<text::ChatTemplate> load_chat_template(const formats::Checkpoint& checkpoint) {
  std::string source = checkpoint.side_file("chat_template.jinja");
  std::string where = checkpoint.place_of("chat_template.jinja");
  if (source.empty()) {
    const std::string name = "tokenizer_config.json";
    where = checkpoint.place_of(name);
    const Json config = json_file(checkpoint, name);
    const Json* found = find_member(config, "chat_template");
    if (found == nullptr) return std::nullopt;
    const Json* text = found;
    if (found->is_array()) {
      for (const Json& named : *found) {
        const Json* name = find_member(named, "name");
        if (name != nullptr && *name == "default") text = find_member(named, "template");
      }
    }
    check_file(text != nullptr && text->is_string(), FileFault::type, where,
               "chat_template must be a string or a list with one named \"default\"");
    source = text->get<std::string>();
  }
  return text::ChatTemplate(std::move(source), where);
}

Json special_tokens(const formats::Checkpoint& checkpoint) {
  Json tokens = Json::object();
  for (const char* file : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const Json json = json_file(checkpoint, file);
    for (const auto& [key, value] : json.items()) {
      if (!key.ends_with("_token")) continue;
      const Json text = token_text(value);
      if (text.is_string()) tokens[key] = text;
    }
  }
  return tokens;
}

GenerationConfig load_generation_config(const formats::Checkpoint& checkpoint) {
  const std::string name = "generation_config.json";
  if (!checkpoint.side_file(name).empty()) {
    return GenerationConfig::from_json(json_file(checkpoint, name), checkpoint.place_of(name));
  }
  GenerationConfig config = GenerationConfig::from_json(checkpoint.config(), checkpoint.place_of("config.json"));
  config.extra = Json::object();  // the model's own keys
  return config;
}

}  // namespace caravan::generate
