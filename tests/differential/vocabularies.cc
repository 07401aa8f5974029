// Texts through tokenizers made of foreign vocabularies: {"kind": "sentencepiece" | "gguf" | "json", "file": ...,
// "texts": [...]}; a GGUF vocabulary comes as JSON.
#include <fstream>

#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/text/tokenizer.h"
#include "differential.h"

namespace caravan::differential {
namespace {

using namespace text;

Tokenizer load(const Json& cases, const std::string& file) {
  if (cases.at("kind") == "sentencepiece") return Tokenizer::from_sentencepiece(read_file(file), file);
  if (cases.at("kind") == "json") return Tokenizer::from_json(read_file(file), file);
  const Json j = parse_json(read_file(file), file);
  GgufVocabulary v;
  v.model = j.at("model").get<std::string>();
  v.pre = j.value("pre", "");
  v.tokens = j.at("tokens").get<std::vector<std::string>>();
  v.scores = j.value("scores", std::vector<float>());
  v.token_types = j.value("token_types", std::vector<int32_t>());
  v.merges = j.value("merges", std::vector<std::string>());
  if (j.contains("bos_id")) v.bos_id = j.at("bos_id").get<int32_t>();
  if (j.contains("eos_id")) v.eos_id = j.at("eos_id").get<int32_t>();
  if (j.contains("add_bos")) v.add_bos = j.at("add_bos").get<bool>();
  return Tokenizer::from_gguf(v, file);
}

}  // namespace

int encode_vocabulary(const std::string& path) {
  const Json cases = parse_json(read_file(path), path);
  const Tokenizer tokenizer = load(cases, cases.at("file").get<std::string>());
  std::ofstream out(path + ".out");
  for (const Json& text : cases.at("texts")) {
    const Encoding e = tokenizer.encode(text.get<std::string>(), {.add_special_tokens = cases.value("special", false)});
    out << Json{{"ids", e.ids}, {"tokens", e.tokens}, {"offsets", e.offsets}, {"text", tokenizer.decode(e.ids)}}.dump()
        << "\n";
  }
  if (cases.contains("save")) write_file(cases.at("save").get<std::string>(), tokenizer.to_json());
  return 0;
}

}  // namespace caravan::differential
