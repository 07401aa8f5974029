// The post-processors of post_processor.h, as Hugging Face tokenizers 0.23.
#include "caravan/text/post_processor.h"

#include <algorithm>
#include <map>

#include "caravan/base/error.h"
#include "caravan/text/byte_level.h"
#include "caravan/text/encoding.h"
#include "caravan/text/normalizer.h"
#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

// Takes the white space at the ends of tokens out of their offsets.
void trim_offsets(Encoding& encoding, bool prefix_space) {
  const char32_t space_character = byte_character(' ');
  auto blank = [&](char32_t c) { return c == space_character || has(c, kSpace); };
  for (size_t i = 0; i < encoding.offsets.size(); ++i) {
    const std::string_view token = encoding.tokens[i];
    auto& [begin, end] = encoding.offsets[i];
    uint32_t leading = 0, trailing = 0;
    for (size_t at = 0; at < token.size() && blank(decode_utf8(token, at));) ++leading;
    for (size_t at = token.size(); at > 0 && blank(decode_utf8_before(token, at));) ++trailing;
    if (leading > 0) {
      const bool first = i == 0 || begin == 0;
      if (first && prefix_space && leading == 1) leading = 0;  // the space that was added, not one of the input
      begin = std::min(begin + leading, end);
    }
    if (trailing > 0 && end >= trailing) end = std::max(end - trailing, begin);
  }
}

void trim_all(std::vector<Encoding>& parts, bool prefix_space) {
  for (Encoding& e : parts) {
    trim_offsets(e, prefix_space);
    for (Encoding& o : e.overflowing) trim_offsets(o, prefix_space);
  }
}

class ByteLevelProcessor : public PostProcessor {
 public:
  ByteLevelProcessor(const Json& json, std::string_view where)
      : prefix_space_(get_bool(json, "add_prefix_space", where)), trim_(get_bool(json, "trim_offsets", where)) {}
  size_t added_tokens(bool) const override { return 0; }
  void process(std::vector<Encoding>& parts, bool, bool details) const override {
    if (trim_ && details) trim_all(parts, prefix_space_);
  }

 private:
  bool prefix_space_, trim_;
};

struct Special {
  std::string token;
  int32_t id;
};

Special read_special(const Json& json, const char* key, std::string_view where) {
  const Json* pair = find_member(json, key);
  check_file(pair && pair->is_array() && pair->size() == 2 && (*pair)[0].is_string() &&
                 (*pair)[1].is_number_unsigned() && (*pair)[1].get<uint64_t>() < (uint64_t{1} << 31),
             FileFault::json, where, "post_processor.{} must be [token, id]", key);
  return {(*pair)[0].get<std::string>(), (*pair)[1].get<int32_t>()};
}

// BERT: [CLS] A [SEP] B [SEP]. RoBERTa: <s> A </s> </s> B </s>, all of type 0, offsets trimmed.
class ClsSepProcessor : public PostProcessor {
 public:
  ClsSepProcessor(const Json& json, std::string_view where, bool roberta)
      : cls_(read_special(json, "cls", where)), sep_(read_special(json, "sep", where)), roberta_(roberta) {
    if (!roberta) return;
    trim_ = get_bool(json, "trim_offsets", where);
    prefix_space_ = get_bool(json, "add_prefix_space", where);
  }
  size_t added_tokens(bool pair) const override { return pair ? (roberta_ ? 4 : 3) : 2; }

  void process(std::vector<Encoding>& parts, bool add_special_tokens, bool details) const override {
    if (trim_ && details) trim_all(parts, prefix_space_);
    if (roberta_)
      for (Encoding& e : parts) std::fill(e.type_ids.begin(), e.type_ids.end(), 0);
    if (!add_special_tokens) return;
    for (size_t i = 0; i < parts.size(); ++i) {
      wrap(parts[i], i, details);
      for (Encoding& o : parts[i].overflowing) {
        if (roberta_) std::fill(o.type_ids.begin(), o.type_ids.end(), 0);
        wrap(o, i, details);
      }
    }
  }

 private:
  void wrap(Encoding& e, size_t i, bool details) const {
    std::vector<Encoding> overflowing = std::move(e.overflowing);
    e.overflowing.clear();
    std::fill(e.special_tokens_mask.begin(), e.special_tokens_mask.end(), 0);
    Encoding out;
    if (i == 0)
      merge(out, special(cls_, 0, details));
    else if (roberta_)
      merge(out, special(sep_, 0, details));
    merge(out, std::move(e));
    merge(out, special(sep_, i > 0 && !roberta_ ? 1 : 0, details));
    e = std::move(out);
    e.overflowing = std::move(overflowing);
  }
  static Encoding special(const Special& s, int32_t type_id, bool details) {
    return special_tokens(std::span(&s.id, 1), std::span(&s.token, 1), type_id, details);
  }

  Special cls_, sep_;
  bool roberta_, trim_ = false, prefix_space_ = false;
};

struct TemplatePiece {
  int sequence = -1;  // 0: A, 1: B; -1: a special token
  std::string special;
  int32_t type_id = 0;
};

struct SpecialTokenGroup {
  std::vector<int32_t> ids;
  std::vector<std::string> tokens;
};

class TemplateProcessor : public PostProcessor {
 public:
  TemplateProcessor(const Json& json, std::string_view where) {
    read_specials(json, where);
    single_ = read_pieces(json, "single", where);
    pair_ = read_pieces(json, "pair", where);
    for (const TemplatePiece& p : single_)
      check_file(p.sequence != 1, FileFault::range, where, "the template for a single text uses the second text");
  }

  size_t added_tokens(bool pair) const override {
    size_t n = 0;
    for (const TemplatePiece& p : pair ? pair_ : single_)
      if (p.sequence < 0) n += specials_.at(p.special).ids.size();
    return n;
  }

  void process(std::vector<Encoding>& parts, bool add_special_tokens, bool details) const override {
    check(parts.size() <= 2, ErrorCode::unsupported,
          "a template behind another post-processor that adds special tokens");
    std::vector<Encoding> out;
    const std::vector<TemplatePiece>& pieces = parts.size() == 2 ? pair_ : single_;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const TemplatePiece& p = pieces[i];
      if (p.sequence >= 0) {
        Encoding& e = parts[static_cast<size_t>(p.sequence)];
        std::fill(e.type_ids.begin(), e.type_ids.end(), p.type_id);
        const bool last = std::none_of(pieces.begin() + static_cast<ptrdiff_t>(i) + 1, pieces.end(),
                                       [&](const TemplatePiece& later) { return later.sequence == p.sequence; });
        if (last)
          out.push_back(std::move(e));
        else
          out.push_back(e);
      } else if (add_special_tokens) {
        const SpecialTokenGroup& group = specials_.at(p.special);
        out.push_back(special_tokens(group.ids, group.tokens, p.type_id, details));
      }
    }
    parts = std::move(out);
  }

 private:
  void read_specials(const Json& json, std::string_view where) {
    const Json* all = find_member(json, "special_tokens");
    check_file(all && all->is_object(), FileFault::json, where, "TemplateProcessing.special_tokens must be an object");
    for (const auto& [name, value] : all->items()) {
      SpecialTokenGroup group;
      for (const Json& id : component_list(value, "ids", where)) {
        check_file(id.is_number_unsigned() && id.get<uint64_t>() < (uint64_t{1} << 31), FileFault::range, where,
                   "special token \"{}\" has an id outside of 0 to 2^31 - 1", name);
        group.ids.push_back(id.get<int32_t>());
      }
      for (const Json& token : component_list(value, "tokens", where)) {
        check_file(token.is_string(), FileFault::type, where, "special token \"{}\": tokens must be strings", name);
        group.tokens.push_back(token.get<std::string>());
      }
      check_file(group.ids.size() == group.tokens.size(), FileFault::layout, where,
                 "special token \"{}\" has {} ids and {} tokens", name, group.ids.size(), group.tokens.size());
      specials_[name] = std::move(group);
    }
  }

  std::vector<TemplatePiece> read_pieces(const Json& json, std::string_view key, std::string_view where) const {
    std::vector<TemplatePiece> pieces;
    for (const Json& item : component_list(json, key, where)) {
      TemplatePiece piece;
      if (const Json* sequence = find_member(item, "Sequence")) {
        const std::string id = get_string(*sequence, "id", where);
        check_file(id == "A" || id == "B", FileFault::json, where, "a template's sequence must be A or B, got \"{}\"",
                   id);
        piece.sequence = id == "B";
        piece.type_id = static_cast<int32_t>(get_int(*sequence, "type_id", where, {.min = 0, .max = 0x7FFFFFFF}));
      } else {
        const Json* special = find_member(item, "SpecialToken");
        check_file(special != nullptr, FileFault::json, where,
                   "a template's piece must be a Sequence or a SpecialToken");
        piece.special = get_string(*special, "id", where);
        piece.type_id = static_cast<int32_t>(get_int(*special, "type_id", where, {.min = 0, .max = 0x7FFFFFFF}));
        check_file(specials_.count(piece.special) > 0, FileFault::range, where,
                   "the template uses the special token \"{}\", which special_tokens does not define", piece.special);
      }
      pieces.push_back(std::move(piece));
    }
    return pieces;
  }

  std::vector<TemplatePiece> single_, pair_;
  std::map<std::string, SpecialTokenGroup> specials_;
};

class PostProcessorSequence : public PostProcessor {
 public:
  explicit PostProcessorSequence(std::vector<std::unique_ptr<PostProcessor>> steps) : steps_(std::move(steps)) {}
  size_t added_tokens(bool pair) const override {
    size_t n = 0;
    for (const auto& step : steps_) n += step->added_tokens(pair);
    return n;
  }
  void process(std::vector<Encoding>& parts, bool add_special_tokens, bool details) const override {
    for (const auto& step : steps_) step->process(parts, add_special_tokens, details);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> steps_;
};

}  // namespace

std::unique_ptr<PostProcessor> make_post_processor(const Json& json, std::string_view where, int depth) {
  if (json.is_null()) return nullptr;
  const std::string type = component_type(json, "post_processor", where, depth);
  if (type == "TemplateProcessing") return std::make_unique<TemplateProcessor>(json, where);
  if (type == "BertProcessing") return std::make_unique<ClsSepProcessor>(json, where, false);
  if (type == "RobertaProcessing") return std::make_unique<ClsSepProcessor>(json, where, true);
  if (type == "ByteLevel") return std::make_unique<ByteLevelProcessor>(json, where);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PostProcessor>> steps;
    for (const Json& step : component_list(json, "processors", where))
      if (auto made = make_post_processor(step, where, depth + 1)) steps.push_back(std::move(made));
    return std::make_unique<PostProcessorSequence>(std::move(steps));
  }
  fail_file(FileFault::unsupported, where, "post_processor of unknown type \"{}\"", type);
}

}  // namespace caravan::text
