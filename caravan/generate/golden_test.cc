// Greedy search, beam search, diverse beam search, contrastive search and every logits processor against transformers
// (scripts/golden/generate.py). CARAVAN_GENERATE_GOLDEN names another folder of the same make: the large random grid.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/generate/engine.h"
#include "caravan/models/load.h"

namespace caravan::generate {
namespace {

std::string golden_folder() {
  const char* other = std::getenv("CARAVAN_GENERATE_GOLDEN");
  return other != nullptr ? other : CARAVAN_SOURCE_DIR "/tests/golden/generate";
}

Json golden(const std::string& name) {
  const std::string path = golden_folder() + "/" + name;
  return parse_json(read_file(path), path)["cases"];
}

// The rule of the script's prefix_allowed_tokens_fn.
std::shared_ptr<Constraint> constraint_of(const Json& rule, int64_t vocab_size, std::vector<int32_t> always) {
  const int64_t modulus = rule["modulus"].get<int64_t>(), below = rule["below"].get<int64_t>();
  return std::make_shared<FunctionConstraint>(
      [=](TokenSpan prompt, TokenSpan generated, std::vector<int32_t>& allowed) {
        const int32_t last = generated.empty() ? prompt.back() : generated.back();
        std::set<int32_t> ids(always.begin(), always.end());
        for (int64_t v = 0; v < vocab_size; ++v) {
          if ((7 * v + last) % modulus < below) ids.insert(static_cast<int32_t>(v));
        }
        allowed.assign(ids.begin(), ids.end());
      });
}

struct Outcome {
  int64_t cases = 0, sequences = 0, different = 0;
  double worst_score = 0;
};

class Models {
 public:
  models::CausalLm& get(const std::string& name) {
    auto& model = models_[name];
    if (model == nullptr) model = models::load_causal_lm(golden_folder() + "/" + name, {.dtype = at::kFloat});
    return *model;
  }

 private:
  std::map<std::string, std::unique_ptr<models::CausalLm>> models_;
};

std::vector<GenerateResult> run(models::CausalLm& model, const Json& test) {
  Json options = test["options"];
  options["pad_token_id"] = 0;
  const Json rule = options.value("prefix_rule", Json());
  options.erase("prefix_rule");
  GenerationConfig config;
  config.update(options, "case");
  std::vector<GenerateRequest> requests;
  for (const Json& prompt : test["prompts"]) {
    GenerateRequest request{.prompt = prompt.get<std::vector<int32_t>>(), .config = config};
    if (!rule.is_null()) request.constraint = constraint_of(rule, model.backbone().vocab_size(), config.eos_token_id);
    requests.push_back(std::move(request));
  }
  return Engine(model).generate(std::move(requests));
}

void compare(const Json& test, const std::vector<GenerateResult>& results, Outcome& outcome) {
  size_t row = 0;
  for (const GenerateResult& result : results) {
    for (const GeneratedSequence& sequence : result.sequences) {
      ASSERT_LT(row, test["sequences"].size());
      const auto expected = test["sequences"][row].get<std::vector<int32_t>>();
      ++outcome.sequences;
      if (sequence.ids != expected) {
        ++outcome.different;
        ADD_FAILURE() << test.dump() << "\nsequence " << row << ": " << Json(sequence.ids).dump();
      } else if (test.contains("scores")) {
        const double score = test["scores"][row].get<double>();
        const double error = std::abs(score - sequence.score);
        if (score > -1e8) outcome.worst_score = std::max(outcome.worst_score, error);
        // A score of -500 (length_penalty -1) has an fp32 step of 3e-5.
        EXPECT_LE(error, score > -1e8 ? 1e-4 + 1e-6 * std::abs(score) : 128.0) << test.dump();
      }
      ++row;
    }
  }
  EXPECT_EQ(row, test["sequences"].size());
}

void check_cases(const std::string& file) {
  Models models;
  Outcome outcome;
  for (const Json& test : golden(file)) {
    ++outcome.cases;
    compare(test, run(models.get(test["model"].get<std::string>()), test), outcome);
  }
  std::printf("%s: %ld cases, %ld sequences, %ld different, largest score error %.2g\n", file.c_str(),
              static_cast<long>(outcome.cases), static_cast<long>(outcome.sequences),
              static_cast<long>(outcome.different), outcome.worst_score);
  EXPECT_GT(outcome.sequences, 0);
}

TEST(Golden, GreedyAndBeamSearchEqualTransformers) { check_cases("cases.json"); }

TEST(Golden, DiverseBeamAndContrastiveSearchEqualTransformers4) {
  if (!file_exists(golden_folder() + "/old_cases.json")) GTEST_SKIP() << "made without transformers 4";
  check_cases("old_cases.json");
}

std::vector<float> random_scores(uint64_t state, int64_t n, double spread) {
  std::vector<float> scores;
  for (int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    scores.push_back(static_cast<float>(static_cast<double>((state >> 40) & 0xffff) / 65536 * 2 * spread - spread));
  }
  return scores;
}

TEST(Golden, ProcessorsEqualTransformers) {
  double worst = 0;
  for (const Json& test : golden("processors.json")) {
    const int64_t vocab = std::ssize(test["expected"]);
    Json options = test["options"];
    const Json rule = options.value("prefix_rule", Json());
    options.erase("prefix_rule");
    GenerationConfig config;
    config.update(options, "case");
    config.do_sample = test["do_sample"].get<bool>();
    config.eos_token_id = {1, 2};
    const auto prompt = test["prompt"].get<std::vector<int32_t>>(), ids = test["ids"].get<std::vector<int32_t>>();
    const PromptView view{
        .ids = prompt,
        .max_length = config.max_length.value_or(100),
        .min_length = std::max(config.min_length, std::ssize(prompt) + config.min_new_tokens.value_or(-100))};
    const auto list = make_processors(config, view, vocab, rule.is_null() ? nullptr : constraint_of(rule, vocab, {}));
    std::vector<float> scores = random_scores(test["seed"].get<uint64_t>(), vocab, test["spread"].get<double>());
    const ScoreRow row{scores, ids};
    list.apply({&row, 1});
    for (int64_t i = 0; i < vocab; ++i) {
      const Json& expected = test["expected"][i];
      if (expected.is_null()) {
        EXPECT_EQ(scores[i], -std::numeric_limits<float>::infinity()) << test["options"].dump() << " token " << i;
      } else {
        const double size = std::max(1.0, std::abs(expected.get<double>()));
        worst = std::max(worst, std::abs(scores[i] - expected.get<double>()) / size);
        EXPECT_NEAR(scores[i], expected.get<double>(), 1e-6 * size) << test["options"].dump() << " token " << i;
      }
    }
  }
  std::printf("processors: largest relative error %.2g\n", worst);
}

}  // namespace
}  // namespace caravan::generate
