// The defaults that the help shows are those that hold; nothing that is given is ignored.
#include "caravan/cli/decoding_options.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/formats/memory_checkpoint.h"

namespace caravan::cli {
namespace {

// What is wrong with the options beside a generation_config.json; "" where nothing is.
std::string fault(std::vector<std::string> arguments, const Json& generation = Json::object()) {
  CLI::App app;
  DecodingOptions options;
  options.add_to(app);
  options.add_draft_to(app);
  std::reverse(arguments.begin(), arguments.end());
  app.parse(std::move(arguments));
  formats::MemoryCheckpoint stored("stored", {{"vocab_size", 12}});
  stored.add_side_file("generation_config.json", dump_json(generation, -1));
  try {
    options.check_use(options.config(stored), stored, 2);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    return error.what();
  }
}

TEST(DecodingOptions, WhatNothingReadsIsRefusedByName) {
  const std::vector<std::vector<std::string>> cases = {
      {"--length-penalty", "2"},
      {"--early-stopping", "true"},
      {"--diversity-penalty", "1", "--num-beams", "2"},
      {"--penalty-alpha", "0.6", "--num-beams", "2"},
      {"--penalty-alpha", "0.6", "--top-k", "1"},
      {"--penalty-alpha", "0.6", "--do-sample"},
      {"--prompt-lookup-num-tokens", "3", "--num-beams", "2"},
      {"--prompt-lookup-num-tokens", "3", "--draft", "model"},
      {"--max-matching-ngram-size", "3"},
      {"--draft", "model", "--num-beams", "2"},
      {"--draft", "model", "--do-sample", "--num-return-sequences", "2"},
      {"--num-assistant-tokens", "3"},
      {"--temperature", "0.5", "--greedy"},
      {"--top-p", "0.9", "--do-sample=false"},
      {"--min-p", "0.1", "--penalty-alpha", "0.6"},
  };
  for (const auto& arguments : cases) EXPECT_TRUE(fault(arguments).starts_with(arguments[0])) << arguments[0];
  EXPECT_TRUE(fault({"--draft", "model"}, {{"num_beams", 4}}).starts_with("--draft: "));
}

TEST(DecodingOptions, WhatIsReadOrChangesNothingIsTaken) {
  const std::vector<std::vector<std::string>> cases = {
      {"--length-penalty", "2", "--num-beams", "2"},
      {"--length-penalty", "1", "--early-stopping", "false", "--temperature", "1", "--greedy", "--seed", "3"},
      {"--top-k", "0", "--greedy"},
      {"--top-p", "0.9", "--temperature", "0"},
      {"--penalty-alpha", "0.6", "--top-k", "4"},
      {"--penalty-alpha", "0", "--do-sample"},
      {"--prompt-lookup-num-tokens", "3", "--max-matching-ngram-size", "3", "--temperature", "0.5"},
      {"--draft", "model", "--num-assistant-tokens", "3"},
      {"--num-beams", "2", "--do-sample", "--temperature", "0.5"},
      {"--greedy", "--do-sample=false"},
  };
  for (const auto& arguments : cases) EXPECT_EQ(fault(arguments), "") << arguments[0];
  EXPECT_EQ(fault({"--length-penalty", "2"}, {{"num_beams", 4}}), "");
  EXPECT_EQ(fault({}, {{"length_penalty", 2}, {"temperature", 0.5}, {"min_length", 99}, {"suppress_tokens", {99}}}),
            "");
  EXPECT_EQ(fault({"--penalty-alpha", "0.6"}, {{"do_sample", true}}), "");
}

TEST(DecodingOptions, ContradictionsAreRefused) {
  EXPECT_TRUE(fault({"--greedy", "--do-sample"}).starts_with("--greedy and --do-sample"));
  EXPECT_TRUE(fault({"--min-new-tokens", "5", "--max-new-tokens", "3"}).starts_with("--min-new-tokens 5: "));
  EXPECT_TRUE(fault({"--min-new-tokens", "21"}).starts_with("--min-new-tokens 21: "));
  EXPECT_TRUE(fault({"--min-new-tokens", "5", "--max-length", "6"}).starts_with("--min-new-tokens 5: "));
  EXPECT_TRUE(fault({"--min-length", "50", "--max-length", "30"}).starts_with("--min-length 50: "));
  EXPECT_TRUE(fault({"--min-length", "23"}).starts_with("--min-length 23: "));
  EXPECT_EQ(fault({"--min-length", "22"}), "");
  EXPECT_EQ(fault({"--min-new-tokens", "5", "--max-length", "7"}), "");
  EXPECT_EQ(fault({"--max-new-tokens", "3"}, {{"min_new_tokens", 5}}), "");
}

TEST(DecodingOptions, FaultsAreNamedAsTheyWereTyped) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--num-assistant-tokens", "0", "--draft", "model"}, "--num-assistant-tokens must be in 1 .. 4096, got 0"},
      {{"--num-assistant-tokens-schedule", "some_times"},
       "--num-assistant-tokens-schedule must be constant, heuristic or heuristic_transient, got 'some_times'"},
      {{"--num-return-sequences", "3", "--num-beams", "2"},
       "--num-return-sequences (3) must not exceed --num-beams (2)"},
      {{"--num-return-sequences", "3", "--greedy"},
       "--num-return-sequences is 3, but greedy decoding has only one answer: set --do-sample or --num-beams"},
      {{"--temperature", "-1"},
       "--temperature must be in [1e-30, 1e30] (for greedy decoding set --do-sample to false), got -1"},
      {{"--early-stopping", "num_beams", "--num-beams", "2"},
       "--early-stopping must be true, false or \"never\", got \"num_beams\""},
      {{"--seed", "-1"}, "--seed must be an integer from 0 on, got -1"},
  };
  for (const auto& [arguments, message] : cases) EXPECT_EQ(fault(arguments), message);
}

// The advice names what was given that stands in the way.
TEST(DecodingOptions, WhatStandsInTheWayOfSpeculationIsNamed) {
  const auto advice = [](const std::vector<std::string>& arguments, const Json& generation = Json::object()) {
    const std::string message = fault(arguments, generation);
    return message.substr(message.rfind(": ") + 2);
  };
  EXPECT_EQ(advice({"--prompt-lookup-num-tokens", "3", "--num-beams", "2"}),
            "leave --num-beams out, or leave --prompt-lookup-num-tokens out");
  EXPECT_EQ(advice({"--draft", "model"}, {{"num_beams", 4}}), "give --num-beams 1, or leave --draft out");
  EXPECT_EQ(advice({"--draft", "model", "--do-sample", "--num-return-sequences", "2"}),
            "leave --num-return-sequences out, or leave --draft out");
  EXPECT_EQ(advice({"--prompt-lookup-num-tokens", "3", "--penalty-alpha", "0.6", "--top-k", "4"}),
            "leave --penalty-alpha out, or leave --prompt-lookup-num-tokens out");
  EXPECT_EQ(advice({"--max-matching-ngram-size", "3"}).substr(0, 34), "give --prompt-lookup-num-tokens, w");
}

TEST(DecodingOptions, TokenIdsAreOfTheVocabulary) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--suppress-tokens", "3,12"},     {"--begin-suppress-tokens", "12"}, {"--eos-token-id", "12"},
      {"--forced-bos-token-id", "12"},   {"--forced-bos-token-id", "-1"},   {"--forced-eos-token-id", "2,12"},
      {"--bad-words-ids", "1,2;3,12"},   {"--bad-words-ids", "[[1,12]]"},   {"--bad-words-ids", "1;;2"},
      {"--sequence-bias", "[[[12],1]]"},
  };
  for (const auto& [option, value] : cases) EXPECT_TRUE(fault({option, value}).starts_with(option + ": ")) << value;
  EXPECT_EQ(fault({"--suppress-tokens", "0,11", "--sequence-bias", "[[[1,2],12]]", "--forced-bos-token-id", "11"}), "");
}

TEST(DecodingOptions, ShowTheDefaultsOfGenerationConfig) {
  EXPECT_GT(DecodingOptions::defaults().size(), 20u);
  for (auto [name, shown] : DecodingOptions::defaults()) {
    if (name == "seed" || name == "max-new-tokens") continue;  // chosen, or filled in, when a request runs
    std::replace(name.begin(), name.end(), '-', '_');
    generate::GenerationConfig config;
    Json value = Json::parse(shown, nullptr, /*allow_exceptions=*/false);  // a word is no JSON
    config.update({{name, value.is_discarded() ? Json(shown) : value}}, "test");
    EXPECT_FALSE(config.to_json().contains(name)) << name << " is not " << shown << " by default";
  }
}

TEST(DecodingOptions, ChooseAnotherSeedEveryTime) {
  generate::GenerationConfig a, b, c;
  choose_seed(a), choose_seed(b), choose_seed(c);
  EXPECT_FALSE(a.seed == b.seed && b.seed == c.seed);
  EXPECT_LT(a.seed, uint64_t{1} << 32);
}

}  // namespace
}  // namespace caravan::cli
