#include "caravan/formats/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <limits>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

struct SpecialKind {
  std::string_view kind, key, token_name;  // token_name: in tokenizer_config.json, "" where it has no such entry
};
constexpr std::array kSpecials = std::to_array<SpecialKind>({
    {"bos", "tokenizer.ggml.bos_token_id", "bos_token"},
    {"eos", "tokenizer.ggml.eos_token_id", "eos_token"},
    {"unk", "tokenizer.ggml.unknown_token_id", "unk_token"},
    {"pad", "tokenizer.ggml.padding_token_id", "pad_token"},
    {"sep", "tokenizer.ggml.seperator_token_id", "sep_token"},  // spelled so in llama.cpp
    {"cls", "tokenizer.ggml.cls_token_id", "cls_token"},
    {"mask", "tokenizer.ggml.mask_token_id", "mask_token"},
    {"eot", "tokenizer.ggml.eot_token_id", ""},
    {"eom", "tokenizer.ggml.eom_token_id", ""},
});

void check_length(const GgufFile& file, std::string_view key, uint64_t tokens) {
  const GgufField* field = file.find(key);
  check_file(field == nullptr || field->count == tokens, FileFault::range, file.path(),
             "{} has {} elements for {} tokens", key, field == nullptr ? 0 : field->count, tokens);
}

void check_array(const GgufFile& file, std::string_view key, std::string_view wanted,
                 std::initializer_list<GgufType> elements) {
  const GgufField* field = file.find(key);
  if (field == nullptr) return;
  bool accepted = false;
  for (GgufType element : elements)
    accepted = accepted || (field->type == GgufType::array && field->element == element);
  check_file(accepted, FileFault::type, file.path(), "\"{}\" must be an array of {}, got {}{}", key, wanted,
             field->type == GgufType::array ? "an array of " : "", to_string(field->element));
}

std::vector<uint8_t> to_octets(const std::string& bytes) { return {bytes.begin(), bytes.end()}; }
uint32_t to_u32(int64_t value) { return checked_cast<uint32_t>(value, "tokenizer field"); }
std::vector<int32_t> to_i32(const std::vector<int64_t>& values) {
  std::vector<int32_t> result;
  for (int64_t v : values) result.push_back(checked_cast<int32_t>(v, "tokenizer field"));
  return result;
}

}  // namespace

void check_gguf_vocabulary(const GgufFile& file) {
  const GgufField* tokens = file.find("tokenizer.ggml.tokens");
  check_array(file, "tokenizer.ggml.tokens", "strings", {GgufType::string});
  check_array(file, "tokenizer.ggml.scores", "f32", {GgufType::f32});
  check_array(file, "tokenizer.ggml.token_type", "i32", {GgufType::i32, GgufType::u32});
  check_array(file, "tokenizer.ggml.merges", "strings", {GgufType::string});
  check_array(file, "tokenizer.ggml.precompiled_charsmap", "u8", {GgufType::u8, GgufType::i8});
  if (tokens == nullptr) return;
  check_file(tokens->count <= std::numeric_limits<int32_t>::max(), FileFault::limit, file.path(), "{} tokens",
             tokens->count);
  const bool is_bpe = file.get_string("tokenizer.ggml.model", "") == "gpt2";
  check_file(!is_bpe || file.has("tokenizer.ggml.merges"), FileFault::layout, file.path(),
             "the vocabulary is of kind gpt2, and its \"tokenizer.ggml.merges\" are missing");
  check_length(file, "tokenizer.ggml.scores", tokens->count);
  check_length(file, "tokenizer.ggml.token_type", tokens->count);
  for (const SpecialKind& special : kSpecials) gguf_special_id(file, special.kind);
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  const bool fits =
      embedding == nullptr || embedding->shape.empty() || embedding->shape[0] >= static_cast<int64_t>(tokens->count);
  check_file(fits, FileFault::range, file.path(), "{} tokens, but token_embd.weight has only {} rows", tokens->count,
             fits ? 0 : embedding->shape[0]);
}

std::optional<int64_t> gguf_special_id(const GgufFile& file, std::string_view kind) {
  for (const SpecialKind& special : kSpecials) {
    if (special.kind != kind || !file.has(special.key)) continue;
    const GgufField* tokens = file.find("tokenizer.ggml.tokens");
    const int64_t last =
        tokens == nullptr ? std::numeric_limits<int32_t>::max() : static_cast<int64_t>(tokens->count) - 1;
    return file.get_int(special.key, {.min = 0, .max = last});
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, GgufValue>> gguf_tokenizer_fields(const GgufFile& file) {
  std::vector<std::pair<std::string, GgufValue>> fields;
  for (const GgufField& field : file.fields()) {
    if (!field.key.starts_with("tokenizer.")) continue;
    const bool array = field.type == GgufType::array;
    const std::string_view key = field.key;
    GgufValue value;
    switch (field.element) {
      case GgufType::boolean:
        if (array) continue;  // no tokenizer has one
        value = file.get_bool(key);
        break;
      case GgufType::string:
        value = array ? GgufValue(file.get_strings(key)) : GgufValue(file.get_string(key));
        break;
      case GgufType::f32:
      case GgufType::f64:
        value = array ? GgufValue(file.get_floats(key)) : GgufValue(static_cast<float>(file.get_number(key)));
        break;
      case GgufType::u8:
      case GgufType::i8:
        value = array ? GgufValue(to_octets(file.get_bytes(key))) : GgufValue(to_u32(file.get_int(key)));
        break;
      case GgufType::i32:
        value = array ? GgufValue(to_i32(file.get_ints(key))) : GgufValue(static_cast<int32_t>(file.get_int(key)));
        break;
      default:
        value = array ? GgufValue(to_i32(file.get_ints(key))) : GgufValue(to_u32(file.get_int(key)));
        break;
    }
    fields.emplace_back(key, std::move(value));
  }
  return fields;
}

Json gguf_generation_config(const GgufFile& file) {
  Json json = Json::object();
  if (const auto bos = gguf_special_id(file, "bos")) json["bos_token_id"] = *bos;
  Json ends = Json::array();  // any of them stops the answer: end of text, of turn, of message
  for (const char* kind : {"eos", "eot", "eom"}) {
    const auto id = gguf_special_id(file, kind);
    if (id && std::find(ends.begin(), ends.end(), *id) == ends.end()) ends.push_back(*id);
  }
  if (ends.size() == 1) json["eos_token_id"] = ends[0];
  if (ends.size() > 1) json["eos_token_id"] = ends;
  if (const auto pad = gguf_special_id(file, "pad")) json["pad_token_id"] = *pad;
  return json;
}

Json gguf_special_tokens(const GgufFile& file) {
  Json json = Json::object();
  const std::vector<std::string> tokens = file.get_strings("tokenizer.ggml.tokens");
  for (const SpecialKind& special : kSpecials) {
    const auto id = gguf_special_id(file, special.kind);
    if (id && !special.token_name.empty() && !tokens.empty())
      json[std::string(special.token_name)] = tokens[static_cast<size_t>(*id)];
  }
  return json;
}

Json gguf_tokenizer_config(const GgufFile& file) {
  Json json = Json::object();
  for (const char* name : {"add_bos_token", "add_eos_token"}) {
    const std::string key = std::string("tokenizer.ggml.") + name;
    if (file.has(key)) json[name] = file.get_bool(key);
  }
  if (file.has("tokenizer.ggml.add_space_prefix"))
    json["add_prefix_space"] = file.get_bool("tokenizer.ggml.add_space_prefix");
  json.update(gguf_special_tokens(file));
  const std::string chat = file.get_string("tokenizer.chat_template", "");
  Json named = Json::array();  // tokenizer.chat_template.NAME, listed in tokenizer.chat_templates
  for (const std::string& name : file.get_strings("tokenizer.chat_templates")) {
    const std::string text = file.get_string("tokenizer.chat_template." + name, "");
    if (!text.empty()) named.push_back({{"name", name}, {"template", text}});
  }
  if (!chat.empty() && !named.empty()) named.insert(named.begin(), Json{{"name", "default"}, {"template", chat}});
  if (!named.empty()) {
    json["chat_template"] = std::move(named);
  } else if (!chat.empty()) {
    json["chat_template"] = chat;
  }
  return json;
}

}  // namespace caravan::formats
