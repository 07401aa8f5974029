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
  std::string where, source;
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

// continue_final_message: the last message is marked, and the text is cut where the mark comes out of the template.
constexpr std::string_view kMark = "CONTINUE_FINAL_MESSAGE_TAG ";

// Takes "continue_final_message" (true, or the name of a field) out of the variables and marks the message; the text
// that is continued, none where nothing is.
std::optional<std::string> mark_final_message(Json& variables, std::string_view source) {
  const auto wanted = variables.find("continue_final_message");
  if (wanted == variables.end()) return std::nullopt;
  const Json option = *wanted;
  variables.erase("continue_final_message");
  if (option.is_null() || option == false || option == "") return std::nullopt;
  check(option == true || option.is_string(), ErrorCode::invalid_argument,
        "continue_final_message must be true, false or the name of a field, got {}", dump_json(option, -1));
  check(variables["add_generation_prompt"] != true, ErrorCode::invalid_argument,
        "continue_final_message and add_generation_prompt are not compatible: choose one");
  const std::string field = option.is_string() ? option.get<std::string>() : "content";
  check(variables.contains("messages"), ErrorCode::invalid_argument, "continue_final_message needs messages");
  Json& message = variables["messages"].back();
  const Json* found = find_member(message, field);
  check(found != nullptr, ErrorCode::invalid_argument,
        "continue_final_message is set but the final message has no \"{}\" to continue!", field);
  const Json text = *found;
  std::vector<std::string> fields = {field};
  const std::vector<std::string> reasoning = {"reasoning_content", "thinking", "reasoning"};
  if (std::find(reasoning.begin(), reasoning.end(), field) != reasoning.end()) {
    fields.clear();
    for (const std::string& name : reasoning)
      if (const Json* copy = find_member(message, name); copy != nullptr && *copy == text) fields.push_back(name);
  }
  check(std::any_of(fields.begin(), fields.end(),
                    [&](const std::string& name) { return source.find(name) != std::string_view::npos; }),
        ErrorCode::invalid_argument,
        "continue_final_message is set to \"{}\" but this is not an accepted field in the chat_template", field);
  if (text.is_array()) {
    for (size_t i = text.size(); i-- > 0;) {
      const Json* part = text[i].is_object() ? find_member(text[i], "text") : nullptr;
      if (part == nullptr || !part->is_string()) continue;
      message[field][i]["text"] = part->get<std::string>().append(kMark);
      return part->get<std::string>();
    }
  }
  check(text.is_string(), ErrorCode::invalid_argument,
        "continue_final_message is set but we could not find any text to continue in the final message!");
  for (const std::string& name : fields) message[name] = text.get<std::string>().append(kMark);
  return text.get<std::string>();
}

std::string cut_at_mark(std::string rendered, std::string_view text) {
  const size_t at = rendered.rfind(jinja::strip(kMark));
  check(at != std::string::npos && rendered.find(jinja::strip(text)) != std::string::npos, ErrorCode::invalid_argument,
        "continue_final_message is set but the final message does not appear in the chat after applying the chat "
        "template! The template may delete parts of it. Final message to continue: {}",
        jinja::strip(text));
  const bool spaced = std::string_view(rendered).substr(at).starts_with(kMark);
  rendered.resize(at);
  return spaced ? rendered : std::string(jinja::strip(rendered, jinja::Side::right));
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
  impl_->source = std::move(source);
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

void ChatTemplate::set_now(std::time_t now) { impl_->now = now; }

std::string ChatTemplate::render(const Json& variables) const {
  Json prepared = prepare(variables);
  const std::optional<std::string> continued = mark_final_message(prepared, impl_->source);
  const size_t input = measure(prepared, impl_->where);
  const TemplateLimits& limits = impl_->limits;
  const size_t output = std::max(limits.output_bytes, 8 * input + (64 << 10));
  jinja::Budget budget(impl_->where, limits.fuel + static_cast<int64_t>(input), output, (16 << 20) + 24 * input,
                       limits.range);
  jinja::Interpreter interpreter(impl_->syntax, budget, limits.depth, impl_->now);
  try {
    std::vector<std::pair<std::string, Value>> values;
    for (const auto& [name, value] : prepared.items()) values.emplace_back(name, jinja::from_json(budget, value));
    std::string rendered = interpreter.run(values);
    return continued ? cut_at_mark(std::move(rendered), *continued) : rendered;
  } catch (const jinja::PythonError& e) {
    if (e.kind == Raised::template_error) throw Error(ErrorCode::invalid_argument, e.message);
    const std::string message = fmt::format("{}: line {}: {}", impl_->where, interpreter.line(), e.message);
    if (e.kind == Raised::security || e.kind == Raised::hidden)
      throw Error(ErrorCode::unsupported, message, FileFault::unsupported);
    throw Error(ErrorCode::invalid_argument, message);
  }
}

}  // namespace caravan::text
