#include "caravan/generate/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "caravan/base/error.h"

namespace caravan::generate {
namespace {

TEST(GenerationConfig, DefaultsAreTransformers) {
  const GenerationConfig config = GenerationConfig::from_json(Json::object(), "x");
  EXPECT_EQ(config.num_beams, 1);
  EXPECT_EQ(config.top_k, 50);
  EXPECT_FALSE(config.do_sample);
  EXPECT_FALSE(config.max_length.has_value());
  EXPECT_EQ(config.to_json(), Json::object());
}

TEST(GenerationConfig, RoundTripKeepsKnownAndUnknownKeys) {
  const Json json = {{"num_beams", 4},
                     {"early_stopping", "never"},
                     {"eos_token_id", 2},
                     {"bad_words_ids", {{1}, {2, 3}}},
                     {"sequence_bias", {{{4, 5}, -1.5}}},
                     {"top_p", 0.5},
                     {"transformers_version", "5.0"},
                     {"my_key", {{"a", 1}}}};
  const GenerationConfig config = GenerationConfig::from_json(json, "x");
  EXPECT_EQ(config.early_stopping, EarlyStopping::never);
  EXPECT_EQ(config.sequence_bias[0].second, -1.5);
  const Json out = config.to_json();
  EXPECT_EQ(out.size(), json.size());
  for (const auto& [key, value] : json.items()) EXPECT_EQ(out[key], value) << key;
}

TEST(GenerationConfig, OneValueServesWhereAListIsMeant) {
  GenerationConfig config;
  config.update({{"eos_token_id", {2, 3}}, {"stop_strings", "end"}, {"max_new_tokens", 5.0}}, "x");
  EXPECT_EQ(config.eos_token_id, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(config.stop_strings, std::vector<std::string>{"end"});
  EXPECT_EQ(config.max_new_tokens, 5);
  config.update({{"eos_token_id", nullptr}, {"max_new_tokens", nullptr}}, "x");
  EXPECT_TRUE(config.eos_token_id.empty());
  EXPECT_FALSE(config.max_new_tokens.has_value());
}

TEST(GenerationConfig, WrongTypesNameTheKey) {
  for (const Json& json :
       {Json{{"num_beams", "x"}}, Json{{"top_p", true}}, Json{{"eos_token_id", 1e12}}, Json{{"early_stopping", 3}},
        Json{{"sequence_bias", {{1, 2}, 3}}}, Json{{"num_beams", 1.5}}, Json{{"seed", -1}}}) {
    try {
      GenerationConfig::from_json(json, "file.json");
      ADD_FAILURE() << json.dump();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt_file);
      EXPECT_NE(std::string(error.what()).find(json.begin().key()), std::string::npos) << error.what();
    }
    EXPECT_THROW(GenerationConfig().update(json, "options"), Error);
  }
}

TEST(GenerationConfig, SenselessValuesAreRefused) {
  for (const Json& json : {Json{{"repetition_penalty", 0}},
                           Json{{"repetition_penalty", 1e-300}},
                           Json{{"frequency_penalty", 1e300}},
                           Json{{"diversity_penalty", NAN}},
                           Json{{"num_beams", 0}},
                           Json{{"num_return_sequences", 3}},
                           Json{{"stop_strings", ""}},
                           Json{{"watermarking_config", {{"a", 1}}}},
                           Json{{"bad_words_ids", {{-1}}}},
                           Json{{"max_new_tokens", INT64_MAX}},
                           Json{{"min_length", INT64_MAX}},
                           Json{{"max_time", NAN}},
                           Json{{"max_time", -1}},
                           Json{{"no_repeat_ngram_size", -1}},
                           Json{{"encoder_no_repeat_ngram_size", -1}},
                           Json{{"prompt_lookup_num_tokens", -4}},
                           Json{{"max_matching_ngram_size", 0}},
                           Json{{"penalty_alpha", 1.5}},
                           Json{{"penalty_alpha", NAN}},
                           Json{{"assistant_confidence_threshold", 7}},
                           Json{{"exponential_decay_length_penalty", {INT64_MAX, 2}}},
                           Json{{"exponential_decay_length_penalty", {0, -2}}}}) {
    GenerationConfig config;
    config.update(json, "options");
    EXPECT_THROW(config.validate(), Error) << json.dump();
  }
}

TEST(GenerationConfig, SamplingOptionsMatterOnlyWhereTokensAreDrawn) {
  for (const Json& json : {Json{{"temperature", 0}}, Json{{"temperature", 1e-320}}, Json{{"top_k", -1}},
                           Json{{"top_p", 1.5}}, Json{{"typical_p", 0}}, Json{{"typical_p", 5}}, Json{{"min_p", -1}},
                           Json{{"epsilon_cutoff", NAN}}, Json{{"epsilon_cutoff", 1}}, Json{{"eta_cutoff", -1}}}) {
    GenerationConfig config;
    config.update(json, "options");
    EXPECT_NO_THROW(config.validate()) << json.dump();
    config.do_sample = true;
    EXPECT_THROW(config.validate(), Error) << json.dump();
  }
}

TEST(GenerationConfig, TheStrategyIsTheFirstThatTheOptionsChoose) {
  const auto strategy = [](const Json& options, bool draft = false) {
    GenerationConfig config;
    config.update(options, "options");
    return config.strategy(draft);
  };
  EXPECT_EQ(strategy(Json::object()), StrategyKind::greedy);
  EXPECT_EQ(strategy({{"do_sample", true}}), StrategyKind::sampling);
  EXPECT_EQ(strategy({{"num_beams", 4}, {"penalty_alpha", 0.5}}, true), StrategyKind::beams);
  EXPECT_EQ(strategy({{"num_beams", 4}, {"num_beam_groups", 2}}), StrategyKind::beam_groups);
  EXPECT_EQ(strategy({{"penalty_alpha", 0.5}}, true), StrategyKind::contrastive);
  EXPECT_EQ(strategy({{"penalty_alpha", 0.5}, {"top_k", 1}}), StrategyKind::greedy);
  EXPECT_EQ(strategy({{"prompt_lookup_num_tokens", 3}}), StrategyKind::speculative);
  EXPECT_EQ(strategy({{"do_sample", true}}, true), StrategyKind::speculative);
  EXPECT_EQ(strategy({{"do_sample", true}, {"num_return_sequences", 2}}, true), StrategyKind::sampling);
}

TEST(GenerationConfig, WrongValuesThatAreNoTextAreNamedAllTheSame) {
  try {
    GenerationConfig().update({{"early_stopping", "\xff"}}, "options");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  }
}

}  // namespace
}  // namespace caravan::generate
