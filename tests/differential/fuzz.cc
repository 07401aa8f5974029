// Mutated files through every reader: each must end in an Error or in a result, never in a crash, a hang or a report of
// a sanitizer. PATH is a folder made by scripts/fuzz_readers.py: seeds/NAME (files, and folders that are checkpoints),
// runs.json {"runs", "seed", "seconds"}. The file that is being read lies in now/, for the case that the program ends.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <random>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/utf8.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/formats/convert.h"
#include "caravan/text/chat_template.h"
#include "caravan/text/tokenizer.h"
#include "differential.h"

namespace caravan::differential {
namespace {

namespace fs = std::filesystem;
using Random = std::mt19937_64;

size_t below(Random& random, size_t n) { return n == 0 ? 0 : random() % n; }

// One change: a bit, a byte, a number, a range that is lost, doubled, moved, or the end that is cut.
void mutate_once(std::string& bytes, Random& random) {
  static constexpr uint64_t kNumbers[] = {0,          1,          0x7f,       0x80,       0xff,
                                          0xffff,     0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32,
                                          1ull << 40, 1ull << 62, 1ull << 63, ~0ull};
  static constexpr std::string_view kTexts[] = {
      "-1",        "1e308", "null", "[]",   "{}", "\"",       "\\u0000",      "9223372036854775808",
      "true",      "{% ",   " %}",  "{{",   "}}", "\xff\xfe", "[[[[[[",       "|list",
      "*99999999", "(",     "\\p{", "a{9}", "(?", "<0x",      "\xf0\x9f\x98", "../",
      "NaN",       "0.0",   ","};
  if (bytes.empty()) bytes = "x";
  const size_t at = below(random, bytes.size()),
               n = 1 + below(random, std::min<size_t>(bytes.size() - at, 1 << below(random, 9)));
  switch (below(random, 9)) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
      break;
    case 1:
      bytes[at] = static_cast<char>(random());
      break;
    case 2: {
      const uint64_t number = kNumbers[below(random, std::size(kNumbers))];
      const size_t width = std::min<size_t>(size_t{1} << below(random, 4), bytes.size() - at);
      std::memcpy(bytes.data() + at, &number, width);
      break;
    }
    case 3:
      bytes.resize(at);
      break;
    case 4:
      bytes.erase(at, n);
      break;
    case 5:
      bytes.insert(below(random, bytes.size()), bytes.substr(at, n));
      break;
    case 6: {
      const std::string part = bytes.substr(at, n);
      const size_t to = below(random, bytes.size());
      bytes.replace(to, std::min(n, bytes.size() - to), part);
      break;
    }
    case 7:
      bytes.insert(at, kTexts[below(random, std::size(kTexts))]);
      break;
    default:
      bytes.replace(at, std::min<size_t>(n, 8), kTexts[below(random, std::size(kTexts))]);
  }
}

std::string mutated(std::string bytes, Random& random) {
  for (size_t n = 1 + below(random, 4); n > 0; --n) mutate_once(bytes, random);
  return bytes;
}

// Another value in the place of one of a JSON document's: of the document itself, or a nasty one.
Json& random_node(Json& root, Random& random) {
  Json* node = &root;
  while (!node->empty() && node->is_structured() && below(random, 4) != 0) {
    auto it = node->begin();
    std::advance(it, static_cast<ptrdiff_t>(below(random, node->size())));
    node = &*it;
  }
  return *node;
}

std::string mutated_json(const std::string& bytes, Random& random) {
  static const std::vector<Json> kValues = {nullptr,
                                            true,
                                            0,
                                            -1,
                                            1,
                                            2147483648,
                                            1e308,
                                            0.5,
                                            "",
                                            "<unk>",
                                            " ",
                                            "\\p{L}+|(",
                                            "\u0000",
                                            "isolated",
                                            "Metaspace",
                                            Json::array(),
                                            Json::object(),
                                            {{"type", "Sequence"}, {"decoders", Json::array()}},
                                            {{"String", ""}},
                                            {{"Regex", "(a+)+$"}}};
  Json root = Json::parse(bytes, nullptr, false);
  if (root.is_discarded()) return bytes;
  for (size_t n = 1 + below(random, 3); n > 0; --n) {
    Json& node = random_node(root, random);
    const size_t kind = below(random, 4);
    if (kind == 0 && node.is_structured() && !node.empty()) {
      auto it = node.begin();
      std::advance(it, static_cast<ptrdiff_t>(below(random, node.size())));
      node.erase(it);
    } else if (kind == 1) {
      const Json copy = random_node(root, random);
      random_node(root, random) = copy;
    } else {
      node = kValues[below(random, kValues.size())];
    }
  }
  return root.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Text that is no UTF-8 is refused at once: most of the time it is made valid again.
void make_valid(std::string& text) {
  for (size_t at = find_invalid_utf8(text); at != std::string_view::npos; at = find_invalid_utf8(text)) text[at] = '?';
}

// Everything that a checkpoint offers is asked for once.
void read_checkpoint(const std::string& path) {
  const auto checkpoint = formats::Checkpoint::open(path);
  checkpoint->config();
  for (const formats::TensorInfo& t : checkpoint->tensors()) checkpoint->read(t.name);
  formats::side_files_of(*checkpoint);
  checkpoint->check();
  const std::string out = fs::path(path).parent_path() / "out";
  for (const char* format : {"gguf", "safetensors"}) {
    fs::remove_all(out);
    formats::convert(*checkpoint, out, {.write = {.format = format}, .warn = [](const std::string&) {}});
  }
}

void use_tokenizer(const text::Tokenizer& tokenizer) {
  for (const char* sample :
       {"", "Hello  World, don't stop!\n\n 12345", "naïve 日本語 \xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD <s> </s> \xff",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const text::Encoding e = tokenizer.encode(sample);
    tokenizer.encode(sample, {.details = false});
    tokenizer.decode(e.ids);
    tokenizer.decode(e.ids, false);
  }
  text::Tokenizer::from_json(tokenizer.to_json(), "again");
}

void read_tokenizer(const std::string& path) { use_tokenizer(text::Tokenizer::from_json(read_file(path), path)); }
void read_model(const std::string& path) { use_tokenizer(text::Tokenizer::from_sentencepiece(read_file(path), path)); }

void render(const std::string& path) {
  const text::ChatTemplate chat(read_file(path), path);
  const Json call = {{"id", "c"},
                     {"type", "function"},
                     {"function", {{"name", "f"}, {"arguments", {{"a", 1.5}, {"b", {1, nullptr}}}}}}};
  const Json messages = {{{"role", "system"}, {"content", "Be <nice>."}},
                         {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "é"}}, {{"type", "image"}}}}},
                         {{"role", "assistant"}, {"content", "x"}, {"tool_calls", {call}}},
                         {{"role", "user"}, {"content", "Hi"}}};
  chat.render(
      {{"messages", messages}, {"tools", {call["function"]}}, {"add_generation_prompt", true}, {"bos_token", "<s>"}});
}

using Reader = std::function<void(const std::string& path)>;

Reader reader_of(const std::string& name) {
  if (name.ends_with("tokenizer.json")) return read_tokenizer;
  if (name.ends_with(".model")) return read_model;
  if (name.ends_with(".jinja")) return render;
  return read_checkpoint;
}

class Fuzzer {
 public:
  explicit Fuzzer(const std::string& folder)
      : folder_(folder), options_(parse_json(read_file(folder + "/runs.json"), "runs.json")) {}

  int run() {
    const std::string seeds = folder_ + "/seeds";
    const std::vector<std::string> names = list_folder(seeds).value();
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(options_.at("seconds").get<double>());
    for (int64_t i = 0; i < options_.at("runs") && std::chrono::steady_clock::now() < end; ++i) {
      random_.seed(options_.at("seed").get<uint64_t>() * 1'000'003 + static_cast<uint64_t>(i));
      const std::string& name = names[static_cast<size_t>(i) % names.size()];
      one(name, fs::is_directory(seeds + "/" + name));
    }
    for (const auto& [kind, count] : tally_) std::printf("%-60s %ld\n", kind.c_str(), static_cast<long>(count));
    return failures_ == 0 ? 0 : 1;
  }

 private:
  void one(const std::string& name, bool is_folder) {
    const std::string now = folder_ + "/now", target = now + "/" + name;
    fs::remove_all(now);
    fs::create_directories(now);
    fs::copy(folder_ + "/seeds/" + name, target, fs::copy_options::recursive);
    std::string file = target;
    if (is_folder) {
      const std::vector<std::string> inside = list_folder(target).value();
      file += "/" + inside[below(random_, inside.size())];
    }
    const std::string seed = read_file(file);
    const bool is_json = file.ends_with(".json"), is_text = is_json || file.ends_with(".jinja");
    std::string bytes = is_json && below(random_, 4) != 0 ? mutated_json(seed, random_) : mutated(seed, random_);
    if (is_text && below(random_, 8) != 0) make_valid(bytes);
    if (std::FILE* out = std::fopen(file.c_str(), "wb")) {
      std::fwrite(bytes.data(), 1, bytes.size(), out);
      std::fclose(out);
    }
    ::alarm(60);  // a hang ends the program, and leaves its input
    const auto start = std::chrono::steady_clock::now();
    const std::string outcome = outcome_of(name, target);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ::alarm(0);
    ++tally_[name.substr(name.rfind('.') + 1) + ": " + outcome];
    if (outcome == "foreign exception" || seconds > 5) keep(name, outcome, seconds);
  }

  std::string outcome_of(const std::string& name, const std::string& path) const {
    try {
      reader_of(name)(path);
      return "read";
    } catch (const Error& e) {
      return e.fault() == FileFault::none ? std::string(to_string(e.code())) : std::string(to_string(e.fault()));
    } catch (const std::exception& e) {
      std::printf("%s: %s\n", name.c_str(), e.what());
      return "foreign exception";
    }
  }

  void keep(const std::string& name, const std::string& outcome, double seconds) {
    const std::string to = fmt::format("{}/kept/{}-{}", folder_, failures_++, name);
    std::printf("%s after %.1f s: kept as %s\n", outcome.c_str(), seconds, to.c_str());
    fs::create_directories(folder_ + "/kept");
    fs::copy(folder_ + "/now/" + name, to, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }

  const std::string folder_;
  const Json options_;
  Random random_;
  std::map<std::string, size_t> tally_;
  int failures_ = 0;
};

}  // namespace

int fuzz_readers(const std::string& folder) { return Fuzzer(folder).run(); }

}  // namespace caravan::differential
