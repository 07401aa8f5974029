#include "caravan/items/prompt.h"

#include "caravan/base/error.h"

namespace caravan::items {
namespace {

constexpr int64_t kMaxItems = 1 << 20;

std::optional<int32_t> read_token(const Json& object, std::string_view key, std::string_view where,
                                  int64_t vocabulary) {
  const int64_t id = get_int(object, key, where, {.min = 0, .max = vocabulary - 1}, -1);
  return id < 0 ? std::nullopt : std::optional<int32_t>(static_cast<int32_t>(id));
}

Json token_or_null(const std::optional<int32_t>& token) { return token ? Json(*token) : Json(); }

}  // namespace

PromptFormat read_prompt_format(const Json& config, std::string_view where) {
  const Json* object = find_member(config, "item_prompt");
  if (object == nullptr) return {};
  check_file(object->is_object(), FileFault::type, where, "\"item_prompt\" must be an object");
  const int64_t vocabulary = get_int(config, "vocab_size", where, {.min = 1, .max = 1 << 30});
  return {.bos = read_token(*object, "bos", where, vocabulary),
          .separator = read_token(*object, "separator", where, vocabulary),
          .max_items = get_int(*object, "max_items", where, {.min = 1, .max = kMaxItems}, PromptFormat{}.max_items)};
}

void write_prompt_format(const PromptFormat& format, Json& config) {
  config["item_prompt"] = Json{{"bos", token_or_null(format.bos)},
                               {"separator", token_or_null(format.separator)},
                               {"max_items", format.max_items}};
}

std::vector<int32_t> make_prompt(std::span<const int32_t> history, std::span<const std::vector<int32_t>> tokens,
                                 const PromptFormat& format) {
  if (std::ssize(history) > format.max_items) history = history.last(static_cast<size_t>(format.max_items));
  std::vector<int32_t> prompt;
  if (format.bos) prompt.push_back(*format.bos);
  for (int32_t item : history) {
    check(item >= 0 && item < std::ssize(tokens), ErrorCode::invalid_argument, "item {} of {} does not exist", item,
          tokens.size());
    prompt.insert(prompt.end(), tokens[item].begin(), tokens[item].end());
    if (format.separator) prompt.push_back(*format.separator);
  }
  return prompt;
}

}  // namespace caravan::items
