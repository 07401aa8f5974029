// Makes a tokenizer of the vocabulary inside a GGUF: kinds gpt2 (byte-level BPE), llama (SentencePiece BPE with
// scores), t5 (Unigram), bert (WordPiece). Source: llama.cpp's llama-vocab.cpp and convert_hf_to_gguf.py. Left out:
// rwkv, plamo2.
#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/text/gguf_pre_tokenizers.h"
#include "caravan/text/spm_vocabulary.h"

namespace caravan::text {
namespace {

constexpr std::string_view kBlank = "\xe2\x96\x81";  // U+2581

SpmPiece type_of(const GgufVocabulary& v, size_t i) {
  return v.token_types.empty() ? SpmPiece::normal : static_cast<SpmPiece>(v.token_types[i]);
}

void check_ids(const GgufVocabulary& v, std::string_view where) {
  check_file(!v.tokens.empty(), FileFault::limit, where, "the vocabulary has no tokens");
  for (const auto& [name, n] : {std::pair("scores", v.scores.size()), std::pair("token_type", v.token_types.size())}) {
    check_file(n == 0 || n == v.tokens.size(), FileFault::range, where, "{} tokens, but {} entries of {}",
               v.tokens.size(), n, name);
  }
  for (const auto& id : {v.bos_id, v.eos_id, v.unknown_id, v.padding_id, v.separator_id, v.mask_id, v.cls_id}) {
    check_file(!id || (*id >= 0 && static_cast<size_t>(*id) < v.tokens.size()), FileFault::range, where,
               "special token {} of {} tokens", id.value_or(0), v.tokens.size());
  }
}

std::vector<AddedToken> added_tokens(const GgufVocabulary& v) {
  std::vector<AddedToken> added;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const SpmPiece type = type_of(v, i);
    const bool special = type == SpmPiece::control || type == SpmPiece::unknown;
    if (special || type == SpmPiece::user_defined)
      added.push_back({.content = v.tokens[i], .normalized = false, .special = special});
  }
  return added;
}

std::vector<TemplateToken> token_list(const GgufVocabulary& v, bool wanted, const std::optional<int32_t>& id) {
  if (!wanted || !id) return {};
  return {{v.tokens[static_cast<size_t>(*id)], *id}};
}

MergeList read_merges(const GgufVocabulary& v, const Vocabulary& vocabulary, std::string_view where) {
  std::vector<std::string_view> tokens;
  tokens.reserve(2 * v.merges.size());
  for (const std::string_view merge : v.merges) {
    const size_t space = merge.find(' ', 1);
    check_file(space != std::string_view::npos, FileFault::range, where,
               "merge {} must be two tokens with a space between, got \"{}\"", tokens.size() / 2, merge);
    tokens.push_back(merge.substr(0, space));
    tokens.push_back(merge.substr(space + 1));
  }
  return find_merges(tokens, vocabulary, where);
}

TokenizerParts make_gpt2(const GgufVocabulary& v, std::string_view where) {
  const GgufPreTokenizer pre = find_gguf_pre_tokenizer(v.model == "gemma4" ? v.model : v.pre, where);
  TokenizerParts parts;
  parts.normalizer = pre.normalizer;
  parts.pre_tokenizer = pre.pre_tokenizer;
  parts.added_tokens = added_tokens(v);
  auto after = token_list(v, v.add_eos.value_or(false), v.eos_id);
  if (after.empty()) after = token_list(v, pre.add_separator, v.separator_id ? v.separator_id : v.eos_id);
  parts.post_processor =
      template_processing(token_list(v, v.add_bos.value_or(pre.add_bos || pre.add_separator), v.bos_id), after);
  if (pre.byte_level) {
    parts.decoder =
        Json{{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  } else {
    parts.normalizer = Json{{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kBlank}};
    parts.decoder = Json{{"type", "Sequence"},
                         {"decoders",
                          {{{"type", "Replace"}, {"pattern", {{"String", kBlank}}}, {"content", " "}},
                           {{"type", "ByteFallback"}},
                           {{"type", "Fuse"}}}}};
  }
  Vocabulary vocabulary = Vocabulary::of_pieces(v.tokens, where);
  MergeList merges = read_merges(v, vocabulary, where);
  const bool bytes = !pre.byte_level && vocabulary.find("<0x00>") >= 0;
  const Json unknown = !pre.byte_level && v.unknown_id ? Json(v.tokens[static_cast<size_t>(*v.unknown_id)]) : Json();
  Json options{{"type", "BPE"},
               {"dropout", nullptr},
               {"unk_token", unknown},
               {"continuing_subword_prefix", nullptr},
               {"end_of_word_suffix", nullptr},
               {"fuse_unk", false},
               {"byte_fallback", bytes},
               {"ignore_merges", pre.ignore_merges}};
  parts.model =
      std::make_unique<BpeModel>(std::move(vocabulary), std::move(merges), std::move(options), std::string(where));
  return parts;
}

TokenizerParts make_spm(const GgufVocabulary& v, SpmKind kind, std::string_view where) {
  check_file(v.scores.size() == v.tokens.size(), FileFault::range, where, "{} tokens, but {} scores", v.tokens.size(),
             v.scores.size());
  const bool llama = kind == SpmKind::bpe;
  SpmVocabulary spm;
  spm.kind = kind;
  spm.pieces = v.tokens;
  spm.scores = v.scores;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const SpmPiece type = type_of(v, i);
    check_file(type >= SpmPiece::normal && type <= SpmPiece::byte, FileFault::range, where, "token {} has type {}", i,
               static_cast<int>(type));
    spm.types.push_back(type);
    spm.byte_fallback = spm.byte_fallback || type == SpmPiece::byte;
  }
  spm.precompiled_charsmap = v.precompiled_charsmap;
  spm.add_dummy_prefix = v.add_space_prefix.value_or(true);
  spm.remove_extra_whitespaces = v.remove_extra_whitespaces.value_or(!llama);
  if (v.add_bos.value_or(llama)) spm.bos = v.bos_id;
  if (v.add_eos.value_or(!llama)) spm.eos = v.eos_id;
  return make_spm_parts(std::move(spm), where);
}

// GGUF writes WordPiece with U+2581 in front of what begins a word, and nothing in front of what BERT writes as ##x.
TokenizerParts make_bert(const GgufVocabulary& v, std::string_view where) {
  std::vector<std::string> tokens = v.tokens;
  bool cased = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const SpmPiece type = type_of(v, i);
    if (type == SpmPiece::control || type == SpmPiece::unknown ||
        (tokens[i].starts_with('[') && tokens[i].ends_with(']')))
      continue;
    if (tokens[i].starts_with(kBlank))
      tokens[i].erase(0, kBlank.size());
    else
      tokens[i].insert(0, "##");
    cased = cased || std::any_of(tokens[i].begin(), tokens[i].end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  }
  TokenizerParts parts;
  parts.added_tokens = added_tokens(v);
  parts.normalizer = Json{{"type", "BertNormalizer"},
                          {"clean_text", true},
                          {"handle_chinese_chars", true},
                          {"strip_accents", v.strip_accents ? Json(*v.strip_accents) : Json()},
                          {"lowercase", v.lowercase.value_or(!cased)}};
  parts.pre_tokenizer = Json{{"type", "BertPreTokenizer"}};
  parts.decoder = Json{{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  const auto first = v.cls_id ? v.cls_id : v.bos_id, last = v.separator_id ? v.separator_id : v.eos_id;
  parts.post_processor = template_processing(token_list(v, v.add_bos.value_or(true), first), token_list(v, true, last));
  const std::string unknown = v.unknown_id ? tokens[static_cast<size_t>(*v.unknown_id)] : "[UNK]";
  Json options{{"type", "WordPiece"},
               {"unk_token", unknown},
               {"continuing_subword_prefix", "##"},
               {"max_input_chars_per_word", 100}};
  parts.model =
      std::make_unique<WordPieceModel>(Vocabulary::of_pieces(tokens, where), std::move(options), std::string(where));
  return parts;
}

}  // namespace

Tokenizer Tokenizer::from_gguf(const GgufVocabulary& v, std::string_view where) {
  check_ids(v, where);
  if (v.model == "gpt2" || v.model == "gemma4") return from_parts(make_gpt2(v, where), where);
  if (v.model == "llama") return from_parts(make_spm(v, SpmKind::bpe, where), where);
  if (v.model == "t5") return from_parts(make_spm(v, SpmKind::unigram, where), where);
  if (v.model == "bert") return from_parts(make_bert(v, where), where);
  fail_file(FileFault::unsupported, where,
            "tokenizer.ggml.model \"{}\" is not supported; gpt2, gemma4, llama, t5 and bert are", v.model);
}

}  // namespace caravan::text
