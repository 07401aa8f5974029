#include "caravan/cli/text_source.h"

#include <fmt/format.h>

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/formats/side_file.h"
#include "caravan/text/chat_template.h"

namespace caravan::cli {
namespace {

constexpr std::string_view kSpecialTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

// A special token is written as its text or as an added-token object.
std::string token_text(const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  const Json* content = find_member(token, "content");
  return content != nullptr && content->is_string() ? content->get<std::string>() : "";
}

// tokenizer_config.json's chat_template: a string, or a list of {"name": ..., "template": ...}.
std::string named_template(const Json& value, bool tools) {
  if (value.is_string()) return value.get<std::string>();
  std::string fallback;
  if (!value.is_array()) return fallback;
  for (const Json& item : value) {
    const Json* name = find_member(item, "name");
    const Json* source = find_member(item, "template");
    if (name == nullptr || source == nullptr || !name->is_string() || !source->is_string()) continue;
    if (*name == (tools ? "tool_use" : "default")) return source->get<std::string>();
    if (*name == "default" || fallback.empty()) fallback = source->get<std::string>();
  }
  return fallback;
}

Json tokenizer_config(const std::string& model) {
  const std::string text = side_file(model, "tokenizer_config.json");
  return text.empty() ? Json::object() : parse_json(text, model + " (tokenizer_config.json)");
}

bool is_template_file(const std::string& model) {
  return (model.ends_with(".jinja") || model.ends_with(".jinja2")) && !is_folder(model);
}

bool has_tools(const Json& variables) {
  const Json* tools = find_member(variables, "tools");
  return tools != nullptr && !tools->empty();
}

}  // namespace

std::string side_file(const std::string& model, std::string_view name) {
  if (is_folder(model)) {
    const std::string path = (std::filesystem::path(model) / name).string();
    if (file_exists(path)) return formats::read_side_file(path);
  }
  try {
    return formats::Checkpoint::open(model)->side_file(name);
  } catch (const Error& error) {
    if (is_folder(model) && error.code() == ErrorCode::not_found) return "";  // a folder without weights
    throw;
  }
}

bool holds_checkpoint(const std::string& folder) {
  try {
    formats::Checkpoint::open(folder);
    return true;
  } catch (const Error& error) {
    return error.code() != ErrorCode::not_found;  // a broken one counts: its own error says more
  }
}

std::string chat_template_source(const std::string& model, bool tools) {
  if (is_template_file(model)) return read_file(model);
  if (std::string source = side_file(model, "chat_template.jinja"); !source.empty()) return source;
  const Json config = tokenizer_config(model);
  const Json* value = find_member(config, "chat_template");
  std::string source = value == nullptr ? "" : named_template(*value, tools);
  check(
      !source.empty(), ErrorCode::not_found,
      "{}: no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): this is probably a base "
      "model; 'caravan generate' completes text without one",
      model);
  return source;
}

std::string special_token(const std::string& model, std::string_view name) {
  const Json config = tokenizer_config(model);
  const Json* token = find_member(config, name);
  return token == nullptr ? "" : token_text(*token);
}

std::string render_chat(const std::string& model, Json variables) {
  const text::ChatTemplate chat(chat_template_source(model, has_tools(variables)), model);
  if (!is_template_file(model)) {
    const Json config = tokenizer_config(model);
    for (const std::string_view name : kSpecialTokens) {
      const Json* token = find_member(config, name);
      if (token != nullptr && !variables.contains(name)) variables[std::string(name)] = token_text(*token);
    }
  }
  if (!variables.contains("tools")) variables["tools"] = nullptr;
  if (!variables.contains("documents")) variables["documents"] = nullptr;
  if (!variables.contains("add_generation_prompt")) variables["add_generation_prompt"] = false;
  try {
    return chat.render(variables);
  } catch (const Error& error) {
    if (!is_template_file(model)) throw;
    for (const std::string_view name : kSpecialTokens) {
      if (variables.contains(name) || std::string_view(error.what()).find(name) == std::string_view::npos) continue;
      throw Error(
          error.code(),
          fmt::format("{} (a .jinja file alone has no {}: put \"{}\" beside \"messages\", or give the checkpoint)",
                      error.what(), name, name),
          error.fault());
    }
    throw;
  }
}

}  // namespace caravan::cli
