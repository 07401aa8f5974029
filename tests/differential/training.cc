// Trains a tokenizer: {"text": FILE, "algorithm", "vocab_size", "min_frequency", "byte_level", "byte_fallback",
// "out": PREFIX}.
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/text/trainer.h"
#include "differential.h"

namespace caravan::differential {

using namespace text;

int train_tokenizer(const std::string& path) {
  const Json c = parse_json(read_file(path), path);
  TrainOptions options;
  options.vocab_size = c.at("vocab_size").get<size_t>();
  options.min_frequency = c.value("min_frequency", uint64_t{0});
  options.byte_level = c.at("byte_level").get<bool>();
  options.byte_fallback = c.value("byte_fallback", false);
  options.special_tokens = c.value("special_tokens", std::vector<std::string>());
  const TextSource lines = lines_of({c.at("text").get<std::string>()});
  const TrainedTokenizer trained =
      c.at("algorithm") == "bpe" ? train_bpe(lines, options) : train_unigram(lines, options);
  const std::string out = c.at("out").get<std::string>();
  write_file(out + ".json", trained.tokenizer.to_json());
  if (!trained.sentencepiece_model.empty()) write_file(out + ".model", trained.sentencepiece_model);
  return 0;
}

}  // namespace caravan::differential
