// The pre-tokenizers that a GGUF names in tokenizer.ggml.pre, as tokenizer.json components. Source: llama.cpp's
// llama-vocab.cpp (2026-08), with the original patterns of the models' tokenizer.json where llama.cpp had to adapt them
// to std::regex. Left out: afmoe and superbpe, whose look-ahead over whole numbers is quadratic.
#include "caravan/text/gguf_pre_tokenizers.h"

#include <algorithm>
#include <array>
#include <span>

#include "caravan/base/error.h"

namespace caravan::text {
namespace {

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kJais2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kUfakzeka =
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kMinicpm5 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kExaoneMoe =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kYoutu =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kKimi =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])*(?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])+(?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSpark =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kJapanese = R"([一-龥぀-ゟ゠-ヿ]+)";
constexpr std::string_view kDeepseekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr std::string_view kDeepseekMarks = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr std::string_view kDeepseekCjk = R"([一-龥ࠀ-一가-퟿]+)";
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?…。，、।۔،)]+)";
constexpr std::string_view kAya = R"(\d{1,3}(?=(?:\d{3})*\b))";
constexpr std::string_view kNewlines = R"([^\n]+|[\n]+)";

// One family: patterns applied one after the other, each cutting out what it matches.
struct Family {
  std::array<std::string_view, 6> patterns;
  bool byte_level_pattern = false;  // then GPT-2's own pattern, inside of ByteLevel
  bool ignore_merges = false, add_bos = false, add_separator = false;
  bool byte_level = true;  // false: text as it is, spaces as U+2581, bytes to fall back on
  bool nfc = false;
};

constexpr Family kGpt2Family{.patterns = {}, .byte_level_pattern = true};
constexpr Family kDigitsFamily{.patterns = {R"(\p{N})"}, .byte_level_pattern = true};
constexpr Family kLlama3Family{.patterns = {kLlama3}, .ignore_merges = true, .add_bos = true};
constexpr Family kQwen2Family{.patterns = {kQwen2}, .nfc = true};
constexpr Family kQwen2PlainFamily{.patterns = {kQwen2}};
constexpr Family kLlama3PlainFamily{.patterns = {kLlama3}};
constexpr Family kDeepseek3Family{.patterns = {R"(\p{N}{1,3})", kJapanese, kDeepseek3}};
constexpr Family kGpt4oFamily{.patterns = {kGpt4o}};
constexpr Family kBloomFamily{.patterns = {kBloom}};
constexpr Family kRobertaFamily{.patterns = {}, .byte_level_pattern = true, .add_separator = true};
constexpr Family kSpmStyleFamily{.patterns = {kNewlines}, .byte_level = false};

struct Named {
  std::string_view name;
  Family family;
};

constexpr Named kNamed[] = {
    {"default", {.patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}}},
    {"llama3", kLlama3Family},
    {"llama-v3", kLlama3Family},
    {"llama-bpe", kLlama3Family},
    {"falcon3", kLlama3Family},
    {"falcon-h1", kLlama3Family},
    {"pixtral", kLlama3Family},
    {"midm-2.0", kLlama3Family},
    {"lfm2", kLlama3Family},
    {"jina-v5-nano", kLlama3Family},
    {"jais-2", {.patterns = {kJais2}}},
    {"dbrx", kLlama3PlainFamily},
    {"smaug-bpe", kLlama3PlainFamily},
    {"chatglm-bpe", kLlama3PlainFamily},
    {"glm4", {.patterns = {kLlama3}, .ignore_merges = true}},
    {"glm5", {.patterns = {kLlama3}, .ignore_merges = true}},
    {"deepseek-llm",
     {.patterns = {R"([\r\n])", kDeepseekLetters, kDeepseekMarks, R"(\s+$)", kDeepseekCjk, R"(\p{N}+)"}}},
    {"deepseek-coder", {.patterns = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, R"(\p{N})"}}},
    {"deepseek-v3", kDeepseek3Family},
    {"hunyuan-dense", kDeepseek3Family},
    {"hy_v4", kDeepseek3Family},
    {"joyai-llm", kDeepseek3Family},
    {"spark2_5", {.patterns = {R"(\p{N}{1,3})", kJapanese, kSpark, R"(\p{N})"}}},
    {"youtu",
     {.patterns =
          {R"([가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+)",
           kYoutu},
      .ignore_merges = true}},
    {"falcon", {.patterns = {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}}},
    {"starcoder", kDigitsFamily},
    {"refact", kDigitsFamily},
    {"command-r", kDigitsFamily},
    {"smollm", kDigitsFamily},
    {"codeshell", kDigitsFamily},
    {"exaone", kDigitsFamily},
    {"minerva-7b", kDigitsFamily},
    {"mellum2", kDigitsFamily},
    {"gpt-2", kGpt2Family},
    {"phi-2", kGpt2Family},
    {"jina-es", kGpt2Family},
    {"jina-de", kGpt2Family},
    {"gigachat", kGpt2Family},
    {"jina-v2-es", kGpt2Family},
    {"jina-v2-de", kGpt2Family},
    {"a.x-4.0", kGpt2Family},
    {"mellum", kGpt2Family},
    {"modern-bert", kGpt2Family},
    {"mpt", kGpt2Family},
    {"olmo", kGpt2Family},
    {"jais", kGpt2Family},
    {"trillion", kGpt2Family},
    {"granite-docling", kGpt2Family},
    {"exaone4", kGpt2Family},
    {"jina-v1-en", kRobertaFamily},
    {"jina-v2-code", kRobertaFamily},
    {"roberta-bpe", kRobertaFamily},
    {"qwen2", kQwen2Family},
    {"deepseek-r1-qwen", kQwen2PlainFamily},
    {"kormo", kQwen2PlainFamily},
    {"f2llmv2", kQwen2PlainFamily},
    {"megrez", kQwen2PlainFamily},
    {"stablelm2", kQwen2PlainFamily},
    {"hunyuan", kQwen2PlainFamily},
    {"solar-open", kQwen2PlainFamily},
    {"grok-2", kQwen2PlainFamily},
    {"qwen35", {.patterns = {kQwen35}}},
    {"poro-chat", kBloomFamily},
    {"bloom", kBloomFamily},
    {"gpt3-finnish", kBloomFamily},
    {"viking", {.patterns = {kBloom, R"(\p{N})"}}},
    {"tekken", {.patterns = {kTekken}, .ignore_merges = true, .add_bos = true}},
    {"chameleon",
     {.patterns = {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"(([\t\n]|    |  ))", R"(\p{N})",
                   R"([\p{P}!-/:-@\[-`{-~])", kGpt2},
      .add_bos = true}},
    {"gpt-4o", kGpt4oFamily},
    {"llama4", kGpt4oFamily},
    {"kanana2", kGpt4oFamily},
    {"talkie", kGpt4oFamily},
    {"minimax-m2", kGpt4oFamily},
    {"granite-embed-multi-97m", {.patterns = {kGpt4o}, .ignore_merges = true}},
    {"tiny_aya", {.patterns = {kAya, kGpt4o}}},
    {"cohere2moe", {.patterns = {kAya, kGpt4o}}},
    {"kimi-k2", {.patterns = {kKimi}}},
    {"bailingmoe", {.patterns = {kBailing}}},
    {"bailingmoe2", {.patterns = {kBailing}}},
    {"llada-moe", {.patterns = {kBailing}}},
    {"seed-coder", {.patterns = {kSeedCoder}}},
    {"ufakzeka", {.patterns = {kUfakzeka}}},
    {"laguna", {.patterns = {kNewlines, kQwen2}}},
    {"exaone-moe", {.patterns = {kExaoneMoe}}},
    {"minicpm5", {.patterns = {R"(\p{N}{1,3})", kMinicpm5}, .ignore_merges = true}},
    {"gemma4", kSpmStyleFamily},
    {"granite-embed-multi-311m", kSpmStyleFamily},
    {"sarvam-moe", kSpmStyleFamily},
};

}  // namespace

GgufPreTokenizer find_gguf_pre_tokenizer(std::string_view name, std::string_view where) {
  if (name.empty()) name = "default";
  const auto* it = std::find_if(std::begin(kNamed), std::end(kNamed), [&](const Named& n) { return n.name == name; });
  check_file(it != std::end(kNamed), FileFault::unsupported, where, "tokenizer.ggml.pre \"{}\" is not known here",
             name);
  const Family& family = it->family;
  Json list = Json::array();
  for (const std::string_view pattern : family.patterns) {
    if (pattern.empty()) continue;
    if (pattern == R"(\p{N})") {
      list.push_back({{"type", "Digits"}, {"individual_digits", true}});
      continue;
    }
    list.push_back({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  if (family.byte_level) {
    list.push_back({{"type", "ByteLevel"},
                    {"add_prefix_space", false},
                    {"trim_offsets", true},
                    {"use_regex", family.byte_level_pattern}});
  }
  GgufPreTokenizer out;
  out.pre_tokenizer = list.size() == 1 ? list[0] : Json{{"type", "Sequence"}, {"pretokenizers", list}};
  if (family.nfc) out.normalizer = {{"type", "NFC"}};
  out.byte_level = family.byte_level;
  out.ignore_merges = family.ignore_merges;
  out.add_bos = family.add_bos;
  out.add_separator = family.add_separator;
  return out;
}

}  // namespace caravan::text
