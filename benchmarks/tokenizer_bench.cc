// Throughput of tokenizers, and a mode that answers scripts/differential_tokenizers.py.
//
//   tokenizer_bench tokenizer.json documents.jsonl [threads]     prints MB/s as JSON (one
//                                                               thread by CPU time, all threads by the clock)
//   tokenizer_bench --dump tokenizer.json < requests.jsonl       one full encoding a line
//   tokenizer_bench --convert tokenizer.json                     the file as Tokenizer::to_json() writes it
//
// documents.jsonl holds one {"text": ...} a line; scripts/bench_tokenizers.py writes it and measures the Python
// package.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/text/tokenizer.h"

namespace caravan::text {
namespace {

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
// Of this process: what one thread does is measured by it, so that other jobs of the machine do not count.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double best_of(int rounds, double (*clock)(), const std::function<void()>& run) {
  double best = 1e9;
  for (int i = 0; i < rounds; ++i) {
    const double start = clock();
    run();
    best = std::min(best, clock() - start);
  }
  return best;
}

Json to_json(const Encoding& e) {
  Json out{{"ids", e.ids},
           {"tokens", e.tokens},
           {"type_ids", e.type_ids},
           {"special", e.special_tokens_mask},
           {"attention", e.attention_mask},
           {"words", e.word_ids}};
  out["offsets"] = Json::array();
  for (const auto& [begin, end] : e.offsets) out["offsets"].push_back(Json::array({begin, end}));
  out["overflowing"] = Json::array();
  for (const Encoding& o : e.overflowing) out["overflowing"].push_back(to_json(o));
  return out;
}

void configure(Tokenizer& tokenizer, const Json& request) {
  if (request.contains("truncation")) {
    const Json& t = request["truncation"];
    if (t.is_null())
      tokenizer.set_truncation(std::nullopt);
    else
      tokenizer.set_truncation(Truncation{t.at("max_length"), t.at("stride"), t.at("strategy"), t.at("direction")});
  }
  if (request.contains("padding")) {
    const Json& p = request["padding"];
    if (p.is_null()) return tokenizer.set_padding(std::nullopt);
    Padding padding{
        .pad_to_multiple_of = p.at("pad_to_multiple_of"), .pad_id = p.at("pad_id"), .direction = p.at("direction")};
    if (!p.at("length").is_null()) padding.length = p.at("length").get<size_t>();
    tokenizer.set_padding(padding);
  }
}

Json answer(Tokenizer& tokenizer, const Json& request) {
  configure(tokenizer, request);
  const std::string text = request.at("text");
  const EncodeOptions options{.add_special_tokens = request.value("add_special_tokens", true)};
  const Json* pair = find_member(request, "pair");
  auto encode = [&](const EncodeOptions& o) {
    return pair ? tokenizer.encode_pair(text, pair->get<std::string>(), o) : tokenizer.encode(text, o);
  };
  const Encoding e = encode(options);
  Json out = to_json(e);
  EncodeOptions fast = options;
  fast.details = false;
  check(encode(fast).ids == e.ids, ErrorCode::internal, "the ids-only path differs on {}", request.dump());
  out["decoded"] = tokenizer.decode(e.ids, true);
  out["decoded_all"] = tokenizer.decode(e.ids, false);
  return out;
}

void dump(const std::string& path) {
  Tokenizer tokenizer = Tokenizer::from_json(read_file(path), path);
  auto print = [](const Json& json) { std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n"; };
  for (std::string line; std::getline(std::cin, line);) {
    try {
      print(answer(tokenizer, Json::parse(line)));
    } catch (const std::exception& e) {
      print(Json{{"error", e.what()}});
    }
  }
}

void measure(const std::string& path, const std::string& documents, int threads) {
  const std::string json = read_file(path);
  const double load = best_of(5, cpu_seconds, [&] { Tokenizer::from_json(json, path); });
  const Tokenizer tokenizer = Tokenizer::from_json(json, path);
  std::vector<std::string> texts;
  double megabytes = 0;
  std::ifstream in(documents);
  for (std::string line; std::getline(in, line);) {
    texts.push_back(Json::parse(line).at("text"));
    megabytes += static_cast<double>(texts.back().size()) / 1e6;
  }
  auto one_by_one = [&](const EncodeOptions& options) {
    for (const std::string& text : texts) tokenizer.encode(text, options);
  };
  const EncodeOptions ids_only{.details = false}, full{};
  const double ids_s = best_of(5, cpu_seconds, [&] { one_by_one(ids_only); });
  const double full_s = best_of(5, cpu_seconds, [&] { one_by_one(full); });
  const double batch_ids_s = best_of(5, wall_seconds, [&] { tokenizer.encode_batch(texts, ids_only, threads); });
  const double batch_full_s = best_of(5, wall_seconds, [&] { tokenizer.encode_batch(texts, full, threads); });
  std::cout << Json{{"load_s", load},
                    {"megabytes", megabytes},
                    {"ids", megabytes / ids_s},
                    {"full", megabytes / full_s},
                    {"batch_ids", megabytes / batch_ids_s},
                    {"batch_full", megabytes / batch_full_s}}
                   .dump()
            << "\n";
}

int run(const std::vector<std::string>& arguments) {
  const bool mode = !arguments.empty() && arguments[0].starts_with("--");
  if (arguments.size() == 2 && arguments[0] == "--dump") {
    dump(arguments[1]);
  } else if (arguments.size() == 2 && arguments[0] == "--convert") {
    std::cout << Tokenizer::from_json(read_file(arguments[1]), arguments[1]).to_json();
  } else if (arguments.size() >= 2 && !mode) {
    measure(arguments[0], arguments[1], arguments.size() > 2 ? std::atoi(arguments[2].c_str()) : 0);
  } else {
    std::cerr << "usage: tokenizer_bench tokenizer.json documents.jsonl [threads] | --dump tokenizer.json | --convert "
                 "tokenizer.json\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace caravan::text

int main(int argc, char** argv) {
  try {
    return caravan::text::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
