// usage: caravan_differential SUBJECT PATH      (run by scripts/differential_SUBJECT.py and scripts/fuzz_readers.py)
#include <cstdio>
#include <string_view>

#include "caravan/base/error.h"
#include "differential.h"

namespace {

struct Subject {
  std::string_view name;
  int (*run)(const std::string& path);
};
constexpr Subject kSubjects[] = {
    {"safetensors", caravan::differential::compare_safetensors},
    {"gguf", caravan::differential::judge_gguf},
    {"torch", caravan::differential::compare_torch},
    {"vocabularies", caravan::differential::encode_vocabulary},
    {"templates", caravan::differential::render_templates},
    {"training", caravan::differential::train_tokenizer},
    {"fuzz", caravan::differential::fuzz_readers},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Subject& subject : kSubjects) {
    if (argc != 3 || subject.name != argv[1]) continue;
    try {
      return subject.run(argv[2]);
    } catch (const caravan::Error& e) {
      std::fprintf(stderr, "caravan_differential: %s\n", e.what());
      return 2;
    }
  }
  std::fputs("usage: caravan_differential SUBJECT PATH; subjects are", stderr);
  for (const Subject& subject : kSubjects)
    std::fprintf(stderr, " %.*s", static_cast<int>(subject.name.size()), subject.name.data());
  std::fputs("\n", stderr);
  return 64;
}
