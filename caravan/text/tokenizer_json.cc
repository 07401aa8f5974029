// Reading of tokenizer.json: the large members (vocab, merges) by simdjson straight into the model's tables, the small
// ones as Json. Limits: 4 million tokens, 16 million merges, nesting of 64.
#include <simdjson.h>

#include "caravan/base/error.h"
#include "caravan/text/tokenizer_parts.h"

namespace caravan::text {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr size_t kVocabularyLimit = 4'000'000;
constexpr size_t kMergesLimit = 16'000'000;

class Reader {
 public:
  Reader(std::string_view json, std::string_view where) : where_(where) {
    check_file(json.size() < (size_t{1} << 31), FileFault::limit, where_, "{} bytes are too many for a tokenizer",
               json.size());
    auto parsed = parser_.parse(json.data(), json.size());
    if (parsed.error() == simdjson::UTF8_ERROR) fail_file(FileFault::utf8, where_, "the file is not UTF-8");
    if (parsed.error() == simdjson::DEPTH_ERROR) fail_file(FileFault::limit, where_, "nested too deeply");
    check_file(!parsed.error(), FileFault::json, where_, "not JSON: {}", simdjson::error_message(parsed.error()));
    check_file(parsed.value_unsafe().is_object(), FileFault::json, where_, "a tokenizer must be a JSON object");
    root_ = parsed.value_unsafe();
  }

  TokenizerParts read() {
    TokenizerParts parts;
    std::optional<element> model, added;
    for (auto [key, value] : object(root_)) {
      if (key == "model")
        model = value;
      else if (key == "added_tokens")
        added = value;
      else if (key == "normalizer")
        parts.normalizer = small(value);
      else if (key == "pre_tokenizer")
        parts.pre_tokenizer = small(value);
      else if (key == "post_processor")
        parts.post_processor = small(value);
      else if (key == "decoder")
        parts.decoder = small(value);
      else if (key == "truncation")
        parts.truncation = read_truncation(small(value));
      else if (key == "padding")
        parts.padding = read_padding(small(value));
      else
        parts.other[std::string(key)] = small(value);
    }
    check_file(model && model->is_object(), FileFault::json, where_, "\"model\" is missing");
    if (const Json* version = find_member(parts.other, "version"))
      check_file(*version == "1.0", FileFault::version, where_, "tokenizer version {} is unknown; 1.0 is expected",
                 version->dump());
    parts.model = read_model(object(*model));
    if (added && !added->is_null()) read_added(*added, parts);
    return parts;
  }

 private:
  Json small(element e, int depth = 0) {
    check_file(depth < 64, FileFault::limit, where_, "nested more than 64 deep");
    switch (e.type()) {
      case simdjson::dom::element_type::ARRAY: {
        Json out = Json::array();
        for (element item : array(e)) out.push_back(small(item, depth + 1));
        return out;
      }
      case simdjson::dom::element_type::OBJECT: {
        Json out = Json::object();
        for (auto [key, value] : object(e)) {
          check_file(depth > 8 || !out.contains(key) || out.size() > 4096, FileFault::duplicate, where_,
                     "the key \"{}\" comes twice", key);
          out.get_ref<Json::object_t&>().emplace_back(std::string(key), small(value, depth + 1));
        }
        return out;
      }
      case simdjson::dom::element_type::STRING:
        return Json(std::string(std::string_view(e)));
      case simdjson::dom::element_type::INT64:
        return int64_t(e) < 0 ? Json(int64_t(e)) : Json(static_cast<uint64_t>(int64_t(e)));
      case simdjson::dom::element_type::UINT64:
        return Json(uint64_t(e));
      case simdjson::dom::element_type::DOUBLE:
        return Json(double(e));
      case simdjson::dom::element_type::BOOL:
        return Json(bool(e));
      default:
        return Json();
    }
  }

  std::string_view string(element e, std::string_view what) {
    check_file(e.is_string(), FileFault::type, where_, "{} must be a string", what);
    return e.get_string().value_unsafe();
  }

  // The kind of model; files of early versions do not name it.
  std::string model_type(object model, const Json& options) {
    if (const Json* type = find_member(options, "type")) {
      check_file(type->is_string(), FileFault::type, where_, "model.type must be a string");
      return type->get<std::string>();
    }
    if (!model["merges"].error()) return "BPE";
    if (options.contains("max_input_chars_per_word")) return "WordPiece";
    return !model["vocab"].error() && model["vocab"].value_unsafe().is_array() ? "Unigram" : "WordLevel";
  }

  std::unique_ptr<Model> read_model(object model) {
    Json options = Json::object();
    std::optional<element> vocabulary, merges;
    for (auto [key, value] : model) {
      if (key == "vocab")
        vocabulary = value;
      else if (key == "merges")
        merges = value;
      else
        options[std::string(key)] = small(value);
    }
    const std::string type = model_type(model, options);
    const bool known = type == "BPE" || type == "Unigram" || type == "WordPiece" || type == "WordLevel";
    check_file(known, FileFault::unsupported, where_, "model of unknown type \"{}\"", type);
    check_file(vocabulary.has_value(), FileFault::json, where_, "\"model.vocab\" is missing");
    std::string where(where_);
    if (type == "Unigram") return read_unigram(*vocabulary, std::move(options));
    Vocabulary table = read_vocabulary(*vocabulary);
    if (type == "WordPiece") return std::make_unique<WordPieceModel>(std::move(table), std::move(options), where);
    if (type == "WordLevel") return std::make_unique<WordLevelModel>(std::move(table), std::move(options), where);
    check_file(merges && merges->is_array(), FileFault::json, where_, "\"model.merges\" is missing");
    MergeList list = read_merges(array(*merges), table);
    return std::make_unique<BpeModel>(std::move(table), std::move(list), std::move(options), where);
  }

  Vocabulary read_vocabulary(element e) {
    check_file(e.is_object(), FileFault::type, where_, "\"model.vocab\" must be an object");
    // The stored size saturates at 2^24 - 1, which is above the limit.
    const size_t n = object(e).size();
    check_file(n <= kVocabularyLimit, FileFault::limit, where_, "a vocabulary of {} tokens; the limit is {}", n,
               kVocabularyLimit);
    Vocabulary vocabulary;
    vocabulary.reserve(n, n * 8);
    for (auto [key, value] : object(e)) {
      int64_t id = 0;
      check_file(value.is_int64() || value.is_uint64(), FileFault::type, where_, "the id of \"{}\" must be an integer",
                 key);
      check_file(value.get(id) == simdjson::SUCCESS, FileFault::range, where_, "the id of \"{}\" is above 2^31 - 1",
                 key);
      vocabulary.add(key, id, where_);
    }
    return vocabulary;
  }

  // ["a b", ...] or [["a", "b"], ...]
  MergeList read_merges(array items, const Vocabulary& vocabulary) {
    const size_t n = items.size();
    check_file(n <= kMergesLimit, FileFault::limit, where_, "{} merges; the limit is {}", n, kMergesLimit);
    std::vector<std::string_view> tokens;  // left, right, left, right ...
    tokens.reserve(2 * n);
    for (element item : items) {
      if (item.is_string()) {
        const std::string_view line = item.get_string().value_unsafe();
        if (line.starts_with("#version")) continue;
        const size_t space = line.find(' ');
        check_file(space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos,
                   FileFault::json, where_, "merge {} must be two tokens with a space between, got \"{}\"",
                   tokens.size() / 2, line);
        tokens.push_back(line.substr(0, space));
        tokens.push_back(line.substr(space + 1));
        continue;
      }
      check_file(item.is_array() && array(item).size() == 2, FileFault::json, where_, "merge {} must be a pair",
                 tokens.size() / 2);
      for (element token : array(item)) tokens.push_back(string(token, "a merged token"));
    }
    return find_merges(tokens, vocabulary, where_);
  }

  std::unique_ptr<Model> read_unigram(element e, Json options) {
    check_file(e.is_array(), FileFault::type, where_,
               "\"model.vocab\" of a Unigram must be an array of [piece, score]");
    const size_t n = array(e).size();
    check_file(n <= kVocabularyLimit, FileFault::limit, where_, "a vocabulary of {} pieces; the limit is {}", n,
               kVocabularyLimit);
    std::vector<std::string> pieces;
    std::vector<double> scores;
    pieces.reserve(n);
    scores.reserve(n);
    for (element item : array(e)) {
      check_file(item.is_array() && array(item).size() == 2, FileFault::json, where_, "piece {} must be [piece, score]",
                 pieces.size());
      auto pair = array(item).begin();
      pieces.emplace_back(string(*pair, "a piece"));
      ++pair;
      double score = 0;
      check_file((*pair).get(score) == simdjson::SUCCESS, FileFault::range, where_,
                 "the score of piece {} must be a number", pieces.size() - 1);
      scores.push_back(score);
    }
    return std::make_unique<UnigramModel>(std::move(pieces), std::move(scores), std::move(options),
                                          std::string(where_));
  }

  void read_added(element e, TokenizerParts& parts) {
    check_file(e.is_array(), FileFault::type, where_, "\"added_tokens\" must be an array");
    check_file(array(e).size() <= kVocabularyLimit, FileFault::limit, where_, "too many added tokens");
    std::unordered_map<int64_t, std::string> ids;
    for (element item : array(e)) {
      const Json json = small(item);
      check_file(json.is_object(), FileFault::type, where_, "an added token must be an object");
      AddedToken token;
      const int64_t id = get_int(json, "id", where_, {.min = 0, .max = 0x7FFFFFFF});
      token.content = get_string(json, "content", where_);
      token.single_word = get_bool(json, "single_word", where_, false);
      token.lstrip = get_bool(json, "lstrip", where_, false);
      token.rstrip = get_bool(json, "rstrip", where_, false);
      token.normalized = get_bool(json, "normalized", where_, true);
      token.special = get_bool(json, "special", where_, false);
      check_file(token.content.size() <= (16 << 10), FileFault::limit, where_, "an added token of {} bytes",
                 token.content.size());
      const auto [at, fresh] = ids.emplace(id, token.content);
      check_file(fresh || at->second == token.content, FileFault::range, where_,
                 "the added tokens \"{}\" and \"{}\" both have id {}", at->second, token.content, id);
      parts.added_tokens.push_back(std::move(token));
    }
  }

  std::optional<Truncation> read_truncation(const Json& json) {
    if (json.is_null()) return std::nullopt;
    Truncation t;
    t.max_length = static_cast<size_t>(get_int(json, "max_length", where_, {.min = 0}));
    t.stride = static_cast<size_t>(get_int(json, "stride", where_, {.min = 0}));
    const std::string strategy = get_string(json, "strategy", where_),
                      direction = get_string(json, "direction", where_, "Right");
    check_file(strategy == "LongestFirst" || strategy == "OnlyFirst" || strategy == "OnlySecond",
               FileFault::unsupported, where_, "truncation strategy \"{}\" is unknown", strategy);
    check_file(direction == "Right" || direction == "Left", FileFault::unsupported, where_,
               "truncation direction \"{}\" is unknown", direction);
    t.strategy = strategy == "LongestFirst" ? "longest_first" : strategy == "OnlyFirst" ? "only_first" : "only_second";
    t.direction = direction == "Left" ? "left" : "right";
    return t;
  }

  std::optional<Padding> read_padding(const Json& json) {
    if (json.is_null()) return std::nullopt;
    Padding p;
    check_file(json.is_object() && json.contains("strategy"), FileFault::json, where_,
               "\"padding\" must have a strategy");
    const Json& strategy = json["strategy"];
    if (strategy.is_object())
      p.length = static_cast<size_t>(get_int(strategy, "Fixed", where_, {.min = 0, .max = 1 << 30}));
    else
      check_file(strategy == "BatchLongest", FileFault::unsupported, where_, "padding strategy {} is unknown",
                 strategy.dump());
    const std::string direction = get_string(json, "direction", where_);
    check_file(direction == "Right" || direction == "Left", FileFault::unsupported, where_,
               "padding direction \"{}\" is unknown", direction);
    p.direction = direction == "Left" ? "left" : "right";
    p.pad_to_multiple_of =
        static_cast<size_t>(get_int(json, "pad_to_multiple_of", where_, {.min = 0, .max = 1 << 30}, 0));
    p.pad_id = static_cast<int32_t>(get_int(json, "pad_id", where_, {.min = 0, .max = 0x7FFFFFFF}));
    p.pad_type_id = static_cast<int32_t>(get_int(json, "pad_type_id", where_, {.min = 0, .max = 0x7FFFFFFF}));
    p.pad_token = get_string(json, "pad_token", where_);
    return p;
  }

  std::string_view where_;
  simdjson::dom::parser parser_;
  element root_;
};

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view json, std::string_view where) {
  return Reader(json, where).read();
}

Json truncation_json(const std::optional<Truncation>& t) {
  if (!t) return Json();
  const char* strategy = t->strategy == "only_first"    ? "OnlyFirst"
                         : t->strategy == "only_second" ? "OnlySecond"
                                                        : "LongestFirst";
  return Json{{"direction", t->direction == "left" ? "Left" : "Right"},
              {"max_length", t->max_length},
              {"strategy", strategy},
              {"stride", t->stride}};
}

Json padding_json(const std::optional<Padding>& p) {
  if (!p) return Json();
  Json strategy = "BatchLongest";
  if (p->length) strategy = Json{{"Fixed", *p->length}};
  return Json{{"strategy", strategy},
              {"direction", p->direction == "left" ? "Left" : "Right"},
              {"pad_to_multiple_of", p->pad_to_multiple_of ? Json(p->pad_to_multiple_of) : Json()},
              {"pad_id", p->pad_id},
              {"pad_type_id", p->pad_type_id},
              {"pad_token", p->pad_token}};
}

}  // namespace caravan::text
