// JSONL files of texts or token ids.
#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/train/sources.h"

namespace caravan::train {
namespace {

std::vector<int32_t> ids_of(const Json& list, std::string_view key, const std::string& where, int64_t vocabulary) {
  check_file(list.is_array() && !list.empty(), FileFault::type, where, "\"{}\" must be a list of token ids", key);
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    check_file(id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < vocabulary, FileFault::range,
               where, "\"{}\" holds {}, token ids lie between 0 and {}", key, id.dump(), vocabulary - 1);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::vector<uint8_t> marks_of(const Json& line, size_t tokens, const std::string& where) {
  const Json* learned = find_member(line, "learned");
  const Json* labels = find_member(line, "labels");
  const Json* list = learned != nullptr ? learned : labels;
  if (list == nullptr) return {};
  check_file(list->is_array() && list->size() == tokens, FileFault::layout, where,
             "\"{}\" must have one entry for each of {} tokens", learned != nullptr ? "learned" : "labels", tokens);
  std::vector<uint8_t> marks;
  for (const Json& entry : *list) {
    check_file(entry.is_number_integer() || entry.is_boolean(), FileFault::type, where,
               "a mark is a whole number, got {}", entry.dump());
    const int64_t value = entry.is_boolean() ? entry.get<bool>() : entry.get<int64_t>();
    marks.push_back(learned != nullptr ? value != 0 : value != -100);
  }
  return marks;
}

Example parse_line(const Json& line, const TokenFileOptions& options, const std::string& where) {
  check_file(line.is_object(), FileFault::type, where, "an object is expected");
  if (const Json* text = find_member(line, "text")) {
    check_file(text->is_string(), FileFault::type, where, "\"text\" must be a text");
    check(options.encode != nullptr, ErrorCode::invalid_argument,
          "{}: texts need a tokenizer: set data.tokenizer to a checkpoint or folder that has one", where);
    return {.ids = options.encode(text->get<std::string>())};
  }
  for (const std::string_view key : {"ids", "input_ids"}) {
    const Json* list = find_member(line, key);
    if (list == nullptr) continue;
    Example example{.ids = ids_of(*list, key, where, options.vocabulary)};
    example.learned = marks_of(line, example.ids.size(), where);
    return example;
  }
  check_file(
      find_member(line, "messages") == nullptr, FileFault::layout, where,
      "conversations are not read yet: write what 'caravan template MODEL --messages FILE' prints as \"text\", or "
      "what 'caravan tokenize MODEL --no-special' makes of that as \"ids\", with \"learned\": 0 for tokens that are "
      "not to be learned (docs/train.md)");
  fail_file(FileFault::layout, where, "a line holds \"text\" or \"ids\"");
}

void add_pieces(TokenExamples& to, const Example& example, size_t max_length) {
  for (size_t at = 0; at < example.ids.size(); at += max_length) {
    const size_t end = std::min(at + max_length, example.ids.size());
    if (end - at < 2 && at > 0) break;  // a single token teaches nothing
    const auto part = [&](const auto& all) {
      using List = std::decay_t<decltype(all)>;
      return all.empty() ? List{}
                         : List(all.begin() + static_cast<int64_t>(at), all.begin() + static_cast<int64_t>(end));
    };
    to.add({.ids = part(example.ids), .learned = part(example.learned)});
  }
}

}  // namespace

std::shared_ptr<TokenExamples> read_token_file(const std::string& path, const TokenFileOptions& options) {
  auto examples = std::make_shared<TokenExamples>();
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", path, number);
    const Example example = parse_line(parse_json(line, where), options, where);
    if (!example.ids.empty()) add_pieces(*examples, example, static_cast<size_t>(options.max_length));
    if (options.limit > 0 && examples->size() >= options.limit) break;
  }
  file->check();
  check_file(examples->size() > 0, FileFault::truncated, path, "there is no example in it");
  return examples;
}

}  // namespace caravan::train
