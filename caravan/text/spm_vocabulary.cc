// See spm_vocabulary.h. Source: transformers 5 convert_slow_tokenizer.py (SpmConverter, LlamaConverter,
// generate_merges), sentencepiece's normalizer.cc and unigram_model.cc.
#include "caravan/text/spm_vocabulary.h"

#include <algorithm>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

constexpr size_t kMaxPieces = 4'000'000, kMaxPiece = 16 << 10;
constexpr std::string_view kBlank = "\xe2\x96\x81";  // U+2581

Json replace(Json pattern, std::string_view content) {
  return Json{{"type", "Replace"}, {"pattern", std::move(pattern)}, {"content", content}};
}

void check_pieces(const SpmVocabulary& v, std::string_view where) {
  check_file(!v.pieces.empty(), FileFault::limit, where, "the vocabulary has no pieces");
  check_file(v.pieces.size() <= kMaxPieces, FileFault::limit, where, "{} pieces; {} are allowed", v.pieces.size(),
             kMaxPieces);
  check_file(v.scores.size() == v.pieces.size() && v.types.size() == v.pieces.size(), FileFault::range, where,
             "{} pieces, {} scores and {} types: the counts must be the same", v.pieces.size(), v.scores.size(),
             v.types.size());
  for (size_t i = 0; i < v.pieces.size(); ++i) {
    check_file(v.pieces[i].size() <= kMaxPiece, FileFault::limit, where, "piece {} has {} bytes; {} are allowed", i,
               v.pieces[i].size(), kMaxPiece);
    check_file(std::isfinite(v.scores[i]), FileFault::range, where, "the score of piece {} is {}", i, v.scores[i]);
    check_file(is_valid_utf8(v.pieces[i]), FileFault::utf8, where, "piece {} is not UTF-8", i);
  }
}

// <0x00> ... <0xFF> must all be there where bytes are to fall back on.
void check_bytes(const SpmVocabulary& v, const Vocabulary& vocabulary, std::string_view where) {
  if (!v.byte_fallback) return;
  const auto ids = find_byte_pieces(vocabulary, where);
  const auto missing = std::count(ids.begin(), ids.end(), -1);
  check_file(missing == 0, FileFault::range, where, "byte fallback needs 256 byte pieces, {} are missing", missing);
}

// Whether white space only ever begins a piece: then words can be cut apart before the model sees them.
bool begins_words(const SpmVocabulary& v) {
  return v.escape_whitespaces && std::all_of(v.pieces.begin(), v.pieces.end(), [](const std::string& p) {
           return p.find(kBlank, 1) == std::string::npos;
         });
}

Json decoder(const SpmVocabulary& v) {
  Json list = Json::array();
  list.push_back(replace({{"String", kBlank}}, " "));
  if (v.byte_fallback) list.push_back({{"type", "ByteFallback"}});
  list.push_back({{"type", "Fuse"}});
  if (v.add_dummy_prefix && v.whitespace_as_suffix)
    list.push_back(replace({{"Regex", " \\z"}}, ""));
  else if (v.add_dummy_prefix)
    list.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return Json{{"type", "Sequence"}, {"decoders", list}};
}

struct Merge {
  int32_t left, right;
  float score;
  uint32_t left_length, right_length;  // characters
};

// Every way to put a piece together from two others: the best score first, then the longer left part.
MergeList generate_merges(const SpmVocabulary& v, const Vocabulary& vocabulary) {
  const auto mergeable = [&](int32_t id) {
    const SpmPiece type = v.types[static_cast<size_t>(id)];
    return type == SpmPiece::normal || type == SpmPiece::user_defined || type == SpmPiece::unused;
  };
  std::vector<Merge> merges;
  for (size_t i = 0; i < v.pieces.size(); ++i) {
    const std::string_view piece = v.pieces[i];
    if (!mergeable(static_cast<int32_t>(i)) || vocabulary.find(piece) != static_cast<int32_t>(i)) continue;
    const size_t first = merges.size();
    uint32_t characters = 0;
    for (char c : piece) characters += (c & 0xc0) != 0x80;
    uint32_t left_length = 0;
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if ((piece[cut] & 0xc0) == 0x80) continue;
      ++left_length;
      const int32_t left = vocabulary.find(piece.substr(0, cut));
      if (left < 0 || !mergeable(left)) continue;
      const int32_t right = vocabulary.find(piece.substr(cut));
      if (right < 0 || !mergeable(right)) continue;
      merges.push_back({left, right, v.scores[i], left_length, characters - left_length});
    }
    std::sort(merges.begin() + static_cast<ptrdiff_t>(first), merges.end(),
              [](const Merge& a, const Merge& b) { return std::pair(a.left, a.right) < std::pair(b.left, b.right); });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tuple(a.score, a.left_length, a.right_length) > std::tuple(b.score, b.left_length, b.right_length);
  });
  MergeList list;
  list.reserve(merges.size());
  for (const Merge& m : merges) list.emplace_back(m.left, m.right);
  return list;
}

std::unique_ptr<Model> make_model(SpmVocabulary& v, std::optional<int32_t> unknown, TokenizerParts& parts,
                                  std::string_view where) {
  Vocabulary vocabulary = Vocabulary::of_pieces(v.pieces, where);
  check_bytes(v, vocabulary, where);
  if (vocabulary.repeated())
    parts.warnings.push_back(fmt::format("{} pieces come twice (first \"{}\"): the first one of each counts",
                                         vocabulary.repeated(), vocabulary.first_repeated()));
  const Json unknown_token = unknown ? Json(v.pieces[static_cast<size_t>(*unknown)]) : Json();
  if (v.kind == SpmKind::unigram) {
    for (size_t i = 0; i < v.pieces.size(); ++i) {  // a repeated piece stays decodable but is never chosen
      if (vocabulary.find(v.pieces[i]) != static_cast<int32_t>(i)) v.pieces[i] = fmt::format("<repeated {}>", i);
    }
    Json options{{"type", "Unigram"},
                 {"unk_id", unknown ? Json(static_cast<uint32_t>(*unknown)) : Json()},
                 {"byte_fallback", v.byte_fallback}};
    return std::make_unique<UnigramModel>(v.pieces, std::vector<double>(v.scores.begin(), v.scores.end()),
                                          std::move(options), std::string(where));
  }
  if (v.kind == SpmKind::word) {
    return std::make_unique<WordLevelModel>(
        std::move(vocabulary), Json{{"type", "WordLevel"}, {"unk_token", unknown_token}}, std::string(where));
  }
  MergeList merges = v.kind == SpmKind::bpe ? generate_merges(v, vocabulary) : MergeList{};
  Json options{{"type", "BPE"},
               {"dropout", nullptr},
               {"unk_token", unknown_token},
               {"continuing_subword_prefix", nullptr},
               {"end_of_word_suffix", nullptr},
               {"fuse_unk", true},
               {"byte_fallback", v.byte_fallback},
               {"ignore_merges", false}};
  return std::make_unique<BpeModel>(std::move(vocabulary), std::move(merges), std::move(options), std::string(where));
}

}  // namespace

Json spm_normalizer(const SpmVocabulary& v) {
  Json list = Json::array();
  if (!v.precompiled_charsmap.empty())
    list.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(v.precompiled_charsmap)}});
  if (v.remove_extra_whitespaces) {
    list.push_back(replace({{"Regex", "^ +| +$"}}, ""));
    list.push_back(replace({{"Regex", " {2,}"}}, " "));
  }
  const std::string_view space = v.escape_whitespaces ? kBlank : " ";
  // A suffix instead of a prefix has no normalizer of its own: it is put behind the last character.
  if (v.add_dummy_prefix && v.whitespace_as_suffix)
    list.push_back(replace({{"Regex", "(?<=[\\s\\S])\\z"}}, space));
  else if (v.add_dummy_prefix)
    list.push_back({{"type", "Prepend"}, {"prepend", space}});
  if (v.escape_whitespaces) list.push_back(replace({{"String", " "}}, kBlank));
  if (list.empty()) return nullptr;
  return Json{{"type", "Sequence"}, {"normalizers", list}};
}

std::string encode_base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

Json template_processing(const std::vector<TemplateToken>& before, const std::vector<TemplateToken>& after) {
  if (before.empty() && after.empty()) return nullptr;
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto around = [&](Json& list, std::string_view name, int type, bool opening) {
    const auto add = [&](const TemplateToken& t) {
      list.push_back({{"SpecialToken", {{"id", t.text}, {"type_id", type}}}});
      tokens[t.text] = {
          {"id", t.text}, {"ids", Json::array({static_cast<uint32_t>(t.id)})}, {"tokens", Json::array({t.text})}};
    };
    if (opening) std::for_each(before.begin(), before.end(), add);
    list.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    std::for_each(after.begin(), after.end(), add);
  };
  around(single, "A", 0, true);
  around(pair, "A", 0, true);
  around(pair, "B", 1, true);
  return Json{{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

TokenizerParts make_spm_parts(SpmVocabulary v, std::string_view where) {
  check_pieces(v, where);
  TokenizerParts parts;
  std::optional<int32_t> unknown;
  for (size_t i = 0; i < v.pieces.size(); ++i) {
    if (v.types[i] == SpmPiece::unknown && !unknown) unknown = static_cast<int32_t>(i);
    const bool special = v.types[i] == SpmPiece::unknown || v.types[i] == SpmPiece::control;
    if (special || v.types[i] == SpmPiece::user_defined)
      parts.added_tokens.push_back({.content = v.pieces[i], .normalized = false, .special = special});
  }
  const auto token = [&](const std::optional<int32_t>& id) {
    std::vector<TemplateToken> list;
    if (id && *id >= 0 && static_cast<size_t>(*id) < v.pieces.size())
      list.push_back({v.pieces[static_cast<size_t>(*id)], *id});
    return list;
  };
  parts.post_processor = template_processing(token(v.bos), token(v.eos));
  parts.normalizer = spm_normalizer(v);
  parts.decoder = decoder(v);
  if (begins_words(v) || v.kind == SpmKind::word) {
    Json& metaspace = parts.pre_tokenizer;
    metaspace["type"] = "Metaspace";
    metaspace["replacement"] = kBlank;
    metaspace["prepend_scheme"] = "never";
    metaspace["split"] = true;
  }
  parts.model = make_model(v, unknown, parts, where);
  return parts;
}

}  // namespace caravan::text
