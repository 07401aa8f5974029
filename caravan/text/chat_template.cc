// See chat_template.h. What transformers' apply_chat_template does to its input before Jinja sees it (5.23,
// tokenization_utils_base.py and utils/chat_template_utils.py): keys of a message that are null are dropped, reasoning
// is given under all its names, tools and documents are None and add_generation_prompt is false where not given.
#include "caravan/text/chat_template.h"

#include <algorithm>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/text/jinja_interpreter.h"
#include "caravan/text/jinja_parser.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text {

using jinja::Raised;
using jinja::Value;

struct ChatTemplate::Impl {
  std::string where;
  TemplateLimits limits;
  jinja::Syntax syntax;
  std::optional<std::time_t> now;
};

namespace {

constexpr int kMaxJsonDepth = 100;

// Bytes of all text in it, and a little for every value; refuses what is nested too deeply to walk.
size_t measure(const Json& json, std::string_view where, int depth = 0) {
  if (depth > kMaxJsonDepth)
    fail_file(FileFault::limit, where, "the variables are nested deeper than {} levels", kMaxJsonDepth);
  size_t n = 8;
  if (json.is_string()) n += json.get_ref<const std::string&>().size();
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) n += key.size() + measure(value, where, depth + 1);
  } else if (json.is_array()) {
    for (const Json& item : json) n += measure(item, where, depth + 1);
  }
  return n;
}

Json prepare_message(const Json& message) {
  check(message.is_object(), ErrorCode::invalid_argument, "chat messages must be objects, got {}",
        dump_json(message, -1).substr(0, 80));
  Json kept = Json::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) kept[key] = value;
  }
  const Json* reasoning = nullptr;
  for (const char* field : {"reasoning_content", "thinking", "reasoning"}) {
    if (reasoning == nullptr) reasoning = find_member(kept, field);
  }
  if (reasoning == nullptr) return kept;
  Json out = Json::object();
  out["thinking"] = *reasoning;
  for (const auto& [key, value] : kept.items()) out[key] = value;
  const Json copy = *reasoning;
  out["reasoning_content"] = copy;
  return out;
}

Json prepare(const Json& variables) {
  check(variables.is_object(), ErrorCode::invalid_argument, "the variables of a chat template must be an object");
  Json out = variables;
  for (const char* name : {"tools", "documents"}) {
    if (!out.contains(name)) out[name] = nullptr;
  }
  if (!out.contains("add_generation_prompt")) out["add_generation_prompt"] = false;
  if (!out.contains("messages")) return out;
  Json& messages = out["messages"];
  check(messages.is_array(), ErrorCode::invalid_argument, "messages must be a list, got {}",
        dump_json(messages, -1).substr(0, 80));
  check(!messages.empty(), ErrorCode::invalid_argument,
        "Cannot apply chat template to an empty conversation. Provide at least one message.");
  for (Json& message : messages) message = prepare_message(message);
  return out;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::string where, TemplateLimits limits)
    : impl_(std::make_unique<Impl>()) {
  check_file(source.size() <= limits.source_bytes, FileFault::limit, where, "a template of {} bytes; {} are allowed",
             source.size(), limits.source_bytes);
  check_file(jinja::valid_utf8(source), FileFault::utf8, where, "the template is not valid UTF-8");
  impl_->where = std::move(where);
  impl_->limits = limits;
  impl_->syntax = jinja::parse(source, impl_->where, limits.depth);
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

void ChatTemplate::set_now(std::time_t now) { impl_->now = now; }

std::string ChatTemplate::render(const Json& variables) const {
  const Json prepared = prepare(variables);
  const size_t input = measure(prepared, impl_->where);
  const TemplateLimits& limits = impl_->limits;
  const size_t output = std::max(limits.output_bytes, 8 * input + (64 << 10));
  jinja::Budget budget(impl_->where, limits.fuel + static_cast<int64_t>(input), output, (16 << 20) + 24 * input,
                       limits.range);
  jinja::Interpreter interpreter(impl_->syntax, budget, limits.depth, impl_->now);
  try {
    std::vector<std::pair<std::string, Value>> values;
    for (const auto& [name, value] : prepared.items()) values.emplace_back(name, jinja::from_json(budget, value));
    return interpreter.run(values);
  } catch (const jinja::PythonError& e) {
    if (e.kind == Raised::template_error) throw Error(ErrorCode::invalid_argument, e.message);
    const std::string message = fmt::format("{}: line {}: {}", impl_->where, interpreter.line(), e.message);
    if (e.kind == Raised::security) throw Error(ErrorCode::unsupported, message, FileFault::unsupported);
    throw Error(ErrorCode::invalid_argument, message);
  }
}

}  // namespace caravan::text
