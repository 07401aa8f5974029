// Meta's tokenizer.model of LLaMA 3 is a rank file (tiktoken): base64 bytes and a rank a line. A rank says when two
// neighbours merge, but not from which parts a token was made; those follow by encoding the token's own bytes with the
// lower ranks only. Source: llama-models tokenizer.py (pattern, special tokens); transformers' TikTokenConverter.
#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>

#include "caravan/base/error.h"
#include "caravan/base/json.h"
#include "caravan/generate/tokenizer_loading.h"

namespace caravan::generate {
namespace {

using Ranks = std::unordered_map<std::string, int64_t>;

constexpr const char* kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::string decode_base64(std::string_view text, std::string_view where) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text.substr(0, text.find('='))) {
    const size_t digit = kDigits.find(c);
    check_file(digit != std::string_view::npos, FileFault::layout, where, "a token is not base64: \"{}\"",
               text.substr(0, 40));
    bits = (bits << 6 | static_cast<uint32_t>(digit)) & 0xffffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

// The printable character that stands for each byte in a byte-level vocabulary (GPT-2's table), as UTF-8.
std::array<std::string, 256> byte_characters() {
  std::array<std::string, 256> table;
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    const uint32_t c = printable ? b : next++;
    if (c < 0x80) {
      table[b] = static_cast<char>(c);
    } else {
      table[b] = {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
    }
  }
  return table;
}

// The two parts whose merge makes the token: its bytes, merged by all ranks below its own.
std::pair<std::string, std::string> parts_of(const std::string& token, int64_t rank, const Ranks& ranks,
                                             std::string_view where) {
  std::vector<std::string> parts;
  for (char c : token) parts.emplace_back(1, c);
  while (parts.size() > 2) {
    size_t best = 0;
    int64_t lowest = rank;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find(parts[i] + parts[i + 1]);
      if (found == ranks.end() || found->second >= lowest) continue;
      lowest = found->second;
      best = i;
    }
    check_file(lowest < rank, FileFault::layout, where, "the token of rank {} cannot be made by merges", rank);
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<int64_t>(best) + 1);
  }
  return {parts[0], parts[1]};
}

std::vector<std::pair<int64_t, std::string>> read_ranks(std::string_view text, std::string_view where) {
  std::vector<std::pair<int64_t, std::string>> list;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t space = line.find(' ');
    if (line.find_first_not_of(" \r") == std::string_view::npos) continue;
    check_file(space != std::string_view::npos, FileFault::layout, where, "line {} has no rank", list.size() + 1);
    int64_t rank = -1;
    std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
    check_file(rank >= 0 && rank < 1 << 24, FileFault::range, where, "line {} has no rank", list.size() + 1);
    std::string token = decode_base64(line.substr(0, space), where);
    check_file(!token.empty() && token.size() <= 4096, FileFault::range, where, "line {} has {} bytes for a token",
               list.size() + 1, token.size());
    list.emplace_back(rank, std::move(token));
  }
  std::sort(list.begin(), list.end());
  for (size_t i = 0; i < list.size(); ++i) {
    check_file(list[i].first == static_cast<int64_t>(i), FileFault::duplicate, where,
               "ranks must count from 0 without gaps; rank {} is missing", i);
  }
  return list;
}

// LLaMA 3.1's 256 special tokens follow the ranks.
Json special_tokens_after(int64_t first) {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int i = 3; names.size() < 256; ++i) names.push_back("<|reserved_special_token_" + std::to_string(i) + "|>");
  Json list = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    list.push_back({{"id", first + static_cast<int64_t>(i)},
                    {"content", names[i]},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", true}});
  }
  return list;
}

// vocab and merges of the BPE, its bytes spelled as GPT-2 spells them.
std::pair<Json, Json> vocabulary_of(const std::vector<std::pair<int64_t, std::string>>& list, std::string_view where) {
  Ranks ranks;
  for (const auto& [rank, token] : list) ranks.emplace(token, rank);
  const auto characters = byte_characters();
  const auto spelled = [&](const std::string& bytes) {
    std::string out;
    for (unsigned char b : bytes) out += characters[b];
    return out;
  };
  Json merges = Json::array();
  Json::object_t vocab;  // filled at its end: an ordered object would look every key up among all others
  for (const auto& [rank, token] : list) {
    static_cast<std::vector<std::pair<const std::string, Json>>&>(vocab).emplace_back(spelled(token), rank);
    if (token.size() < 2) continue;
    const auto [left, right] = parts_of(token, rank, ranks, where);
    merges.push_back(Json::array({spelled(left), spelled(right)}));
  }
  return {std::move(vocab), std::move(merges)};
}

// Text begins with <|begin_of_text|>; so does the second one of a pair.
Json post_processor(int64_t bos_id) {
  const auto bos = [](int type) { return Json{{"SpecialToken", {{"id", "<|begin_of_text|>"}, {"type_id", type}}}}; };
  const auto sequence = [](const char* id, int type) { return Json{{"Sequence", {{"id", id}, {"type_id", type}}}}; };
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({bos(0), sequence("A", 0)})},
          {"pair", Json::array({bos(0), sequence("A", 0), bos(1), sequence("B", 1)})},
          {"special_tokens",
           {{"<|begin_of_text|>",
             {{"id", "<|begin_of_text|>"},
              {"ids", Json::array({bos_id})},
              {"tokens", Json::array({"<|begin_of_text|>"})}}}}}};
}

}  // namespace

std::string tokenizer_json_of_ranks(std::string_view text, std::string_view where) {
  const auto list = read_ranks(text, where);
  check_file(list.size() >= 256, FileFault::range, where, "only {} tokens: a byte-level vocabulary has at least 256",
             list.size());
  auto [vocab, merges] = vocabulary_of(list, where);
  const int64_t first = std::ssize(list);
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kPattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", special_tokens_after(first)},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}}},
      {"post_processor", post_processor(first)},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", true},
        {"vocab", std::move(vocab)},
        {"merges", std::move(merges)}}}};
  return json.dump();
}

}  // namespace caravan::generate
