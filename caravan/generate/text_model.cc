// Special tokens in the text that users type are recognized like the template's own, as transformers does: a server
// that must treat them as plain text has to remove them from the content first.
#include "caravan/generate/text_model.h"

#include "caravan/base/error.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/generate/tokenizer_loading.h"

namespace caravan::generate {
namespace {

const text::Tokenizer& need_tokenizer(const TextModel& model) {
  check(model.tokenizer.has_value(), ErrorCode::not_found,
        "{}: no tokenizer (tokenizer.json, tokenizer.model or a GGUF vocabulary): give the prompt as token ids",
        model.path);
  return *model.tokenizer;
}

}  // namespace

std::vector<int32_t> TextModel::encode(std::string_view prompt) const {
  return need_tokenizer(*this).encode(prompt, {.details = false}).ids;
}

std::string TextModel::render_chat(const Json& messages, const Json& variables) const {
  check(chat_template.has_value(), ErrorCode::not_found,
        "{}: no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)", path);
  Json all = special_tokens;
  all["messages"] = messages;
  all["add_generation_prompt"] = true;
  for (const auto& [key, value] : variables.items()) all[key] = value;
  return chat_template->render(all);
}

std::vector<int32_t> TextModel::encode_chat(const Json& messages, const Json& variables) const {
  const std::string text = render_chat(messages, variables);
  return need_tokenizer(*this).encode(text, {.add_special_tokens = false, .details = false}).ids;
}

GenerateRequest TextModel::request(std::vector<int32_t> prompt) const {
  return {.prompt = std::move(prompt), .config = config, .tokenizer = tokenizer ? &*tokenizer : nullptr};
}

TextModel load_text_model(const std::string& path, const models::LoadOptions& options) {
  const auto checkpoint = formats::Checkpoint::open(path);
  TextModel model;
  model.path = path;
  model.lm = models::load_causal_lm(*checkpoint, options);
  model.tokenizer = load_tokenizer(*checkpoint);
  if (auto chat = load_chat_template(*checkpoint)) model.chat_template.emplace(std::move(*chat));
  model.special_tokens = special_tokens(*checkpoint);
  model.config = load_generation_config(*checkpoint);
  return model;
}

}  // namespace caravan::generate
