// A model with all that belongs to it: what the commands chat, generate and serve work on.
//
//   TextModel model = load_text_model("SmolLM2-135M-Instruct.gguf");
//   Engine engine(*model.lm);
//   std::vector<int32_t> prompt = model.encode_chat({{{"role", "user"}, {"content", "Hello"}}});
//   GenerateResult answer = engine.generate(model.request(prompt));
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/generate/config.h"
#include "caravan/generate/request.h"
#include "caravan/models/heads.h"
#include "caravan/models/load.h"
#include "caravan/text/chat_template.h"
#include "caravan/text/tokenizer.h"

namespace caravan::generate {

struct TextModel {
  std::unique_ptr<models::CausalLm> lm;
  std::optional<text::Tokenizer> tokenizer;  // none: only raw ids can be used
  std::optional<text::ChatTemplate> chat_template;
  Json special_tokens = Json::object();  // bos_token, eos_token ... as the chat template sees them
  GenerationConfig config;               // generation_config.json
  std::string path;

  // Ids of a plain prompt, special tokens added as the tokenizer says. Throws not_found without a tokenizer.
  std::vector<int32_t> encode(std::string_view prompt) const;

  // The rendered conversation. `variables` adds tools, documents ... or overrides add_generation_prompt (true).
  std::string render_chat(const Json& messages, const Json& variables = Json::object()) const;

  // Its ids. As in transformers' apply_chat_template, special tokens are recognized in the whole rendered text, those
  // that a user typed included; nothing is added to what the template wrote.
  std::vector<int32_t> encode_chat(const Json& messages, const Json& variables = Json::object()) const;

  // A request for this model: its config and tokenizer.
  GenerateRequest request(std::vector<int32_t> prompt) const;
};

TextModel load_text_model(const std::string& path, const models::LoadOptions& options = {});

}  // namespace caravan::generate
