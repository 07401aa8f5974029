#include "caravan/items/prompt.h"

#include <algorithm>

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

TokenRun read_run(const Json& first, const Json& count, std::string_view where, int64_t vocabulary) {
  const bool whole = first.is_number_integer() && count.is_number_integer();
  check_file(whole, FileFault::type, where, "\"item_prompt\": runs of tokens are whole numbers");
  const TokenRun run{first.get<int64_t>(), count.get<int64_t>()};
  check_file(run.first >= 0 && run.count > 0 && run.first < vocabulary && run.count <= vocabulary - run.first,
             FileFault::range, where,
             "\"item_prompt\": the tokens from {} on, {} of them, are outside of the vocabulary", run.first, run.count);
  return run;
}

std::vector<TokenRun> read_levels(const Json& object, std::string_view where, int64_t vocabulary) {
  std::vector<TokenRun> levels;
  const Json* list = find_member(object, "levels");
  if (list == nullptr || list->is_null()) return levels;
  check_file(list->is_array(), FileFault::type, where, "\"levels\" must be a list");
  for (const Json& pair : *list) {
    check_file(pair.is_array() && pair.size() == 2, FileFault::type, where, "a level is [first token, how many]");
    levels.push_back(read_run(pair[0], pair[1], where, vocabulary));
  }
  return levels;
}

std::optional<OwnTokens> read_items(const Json& object, std::string_view where, int64_t vocabulary) {
  const Json* own = find_member(object, "items");
  if (own == nullptr || own->is_null()) return std::nullopt;
  check_file(own->is_object() && own->contains("first") && own->contains("count"), FileFault::type, where,
             "\"items\" must hold \"first\" and \"count\"");
  OwnTokens items{.run = read_run(own->at("first"), own->at("count"), where, vocabulary)};
  items.weight = get_number(*own, "weight", where, items.weight);
  check_file(items.weight >= 0 && items.weight <= 1, FileFault::range, where, "\"weight\" lies in [0, 1], got {}",
             items.weight);
  return items;
}

std::optional<TokenRun> read_users(const Json& object, std::string_view where, int64_t vocabulary) {
  const Json* users = find_member(object, "users");
  if (users == nullptr || users->is_null()) return std::nullopt;
  check_file(users->is_array() && users->size() == 2, FileFault::type, where, "\"users\" is [first token, how many]");
  return read_run((*users)[0], (*users)[1], where, vocabulary);
}

}  // namespace

PromptFormat read_prompt_format(const Json& config, std::string_view where) {
  const Json* object = find_member(config, "item_prompt");
  if (object == nullptr) return {};
  check_file(object->is_object(), FileFault::type, where, "\"item_prompt\" must be an object");
  const int64_t vocabulary = get_int(config, "vocab_size", where, {.min = 1, .max = 1 << 30});
  return {.bos = read_token(*object, "bos", where, vocabulary),
          .separator = read_token(*object, "separator", where, vocabulary),
          .max_items = get_int(*object, "max_items", where, {.min = 1, .max = kMaxItems}, PromptFormat{}.max_items),
          .levels = read_levels(*object, where, vocabulary),
          .items = read_items(*object, where, vocabulary),
          .users = read_users(*object, where, vocabulary),
          .parallel = get_bool(*object, "parallel", where, false),
          .prefix = get_bool(*object, "prefix", where, false)};
}

void write_prompt_format(const PromptFormat& format, Json& config) {
  config["item_prompt"] = Json{{"bos", token_or_null(format.bos)},
                               {"separator", token_or_null(format.separator)},
                               {"max_items", format.max_items}};
  Json& object = config["item_prompt"];
  for (const TokenRun& level : format.levels) object["levels"].push_back({level.first, level.count});
  if (format.parallel) object["parallel"] = true;
  if (format.prefix) object["prefix"] = true;
  if (format.users) object["users"] = {format.users->first, format.users->count};
  if (!format.items) return;
  const OwnTokens& items = *format.items;
  object["items"] = {{"first", items.run.first}, {"count", items.run.count}, {"weight", items.weight}};
}

std::vector<TokenRun> level_runs(std::span<const std::vector<int32_t>> level_tokens) {
  std::vector<TokenRun> runs;
  for (const std::vector<int32_t>& tokens : level_tokens) {
    const bool run = !tokens.empty() && tokens.front() >= 0 &&
                     std::adjacent_find(tokens.begin(), tokens.end(),
                                        [](int32_t a, int32_t b) { return b != a + 1; }) == tokens.end();
    if (!run || (!runs.empty() && tokens.front() < runs.back().first + runs.back().count)) return {};
    runs.push_back({.first = tokens.front(), .count = std::ssize(tokens)});
  }
  return runs;
}

std::optional<int32_t> user_token(const PromptFormat& format, std::string_view user) {
  if (!format.users || user.empty()) return std::nullopt;
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : user) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
  return static_cast<int32_t>(format.users->first +
                              static_cast<int64_t>(hash % static_cast<uint64_t>(format.users->count)));
}

std::vector<int32_t> make_prompt(std::span<const int32_t> history, std::span<const std::vector<int32_t>> tokens,
                                 const PromptFormat& format, std::string_view user) {
  if (std::ssize(history) > format.max_items) history = history.last(static_cast<size_t>(format.max_items));
  std::vector<int32_t> prompt;
  if (format.bos) prompt.push_back(*format.bos);
  if (const auto token = user_token(format, user)) prompt.push_back(*token);
  for (int32_t item : history) {
    check(item >= 0 && item < std::ssize(tokens), ErrorCode::invalid_argument, "item {} of {} does not exist", item,
          tokens.size());
    prompt.insert(prompt.end(), tokens[item].begin(), tokens[item].end());
    if (format.items) prompt.push_back(static_cast<int32_t>(format.items->run.first) + item);
    if (format.separator) prompt.push_back(*format.separator);
  }
  return prompt;
}

}  // namespace caravan::items
