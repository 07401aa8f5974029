// Where a model's text side comes from: its chat template and the small files beside its weights. Works
// for folders that hold only those files, too.
//
//   std::string source = side_file("SmolLM2-135M-Instruct.gguf", "tokenizer_config.json");   // "" where there is none
//   std::string prompt = render_chat("model-folder", variables);
#pragma once

#include <string>
#include <string_view>

#include "caravan/base/json.h"

namespace caravan::cli {

std::string side_file(const std::string& model, std::string_view name);
bool holds_checkpoint(const std::string& folder);  // weights in a format that can be read

// The template of a checkpoint (chat_template.jinja, else tokenizer_config.json's; of several named ones "tool_use"
// where there are tools, else "default") or of a .jinja file. Throws not_found where there is none.
std::string chat_template_source(const std::string& model, bool tools);

// Text of "eos_token", "bos_token" ... in tokenizer_config.json; empty where there is none.
std::string special_token(const std::string& model, std::string_view name);

// Renders as transformers' apply_chat_template: the special tokens of tokenizer_config.json are variables, `tools` and
// `documents` are null and add_generation_prompt is false where the caller does not say otherwise.
std::string render_chat(const std::string& model, Json variables);

}  // namespace caravan::cli
