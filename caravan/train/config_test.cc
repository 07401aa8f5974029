// Settings, TOML, sources and event files.
#include "caravan/train/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/file_lock.h"
#include "caravan/base/message_of.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/train/item_vocabulary.h"
#include "caravan/train/report.h"
#include "caravan/train/run.h"
#include "caravan/train/sources.h"
#include "caravan/train/tensorboard.h"
#include "caravan/train/toml.h"

namespace caravan::train {
namespace {

constexpr std::string_view kText = R"(
output = "runs/x"
[model]
model_type = "llama"
hidden_size = 32
rope_parameters = {rope_type = "default", rope_theta = 1e4}
[optimizer]
lr = 1e-3
no_decay = ["norm"]
[training]
epochs = 3
)";

TEST(Config, AFileAndTheCommandLineSetTheSameKeys) {
  const TemporaryFolder folder;
  write_file(folder / "run.toml", kText);
  TrainConfig config = read_config(folder / "run.toml");
  EXPECT_EQ(config.output, "runs/x");
  EXPECT_EQ(config.optimizer.lr, 1e-3);
  EXPECT_EQ(config.training.epochs, 3);  // a whole number where a number is expected
  EXPECT_EQ(config.optimizer.no_decay, std::vector<std::string>{"norm"});
  EXPECT_EQ(config.model.inline_config.at("rope_parameters").at("rope_theta"), 1e4);
  set_key(config, "optimizer.lr", parse_toml_value("3e-4"));
  set_key(config, "schedule.name", parse_toml_value("wsd"));
  set_key(config, "model.hidden_size", parse_toml_value("64"));
  set_key(config, "optimizer.no_decay", parse_toml_value("[\"bias\", 'head']"));
  // What is saved reads back as the same settings.
  write_file(folder / "saved.toml", to_toml(config));
  TrainConfig again = read_config(folder / "saved.toml");
  EXPECT_EQ(to_toml(again), to_toml(config));
  EXPECT_EQ(again.optimizer.lr, 3e-4);
  EXPECT_EQ(again.schedule.name, "wsd");
  EXPECT_EQ(again.model.inline_config.at("hidden_size"), 64);
  EXPECT_EQ(again.optimizer.no_decay, (std::vector<std::string>{"bias", "head"}));
}

TEST(Config, MistakesAreNamedWithTheNearestKey) {
  TrainConfig config;
  EXPECT_TRUE(has(message_of([&] { set_key(config, "optimizer.rl", 1); }), "did you mean 'optimizer.lr'?"));
  EXPECT_TRUE(has(message_of([&] { set_key(config, "training.epoch", 1); }), "'training.epochs'"));
  EXPECT_TRUE(has(message_of([&] { set_key(config, "model.hiden_size", 1); }), "'hidden_size'"));
  EXPECT_TRUE(has(message_of([&] { set_key(config, "optimizer.lr", "fast"); }), "a number is expected, got \"fast\""));
  EXPECT_TRUE(has(message_of([&] { set_key(config, "seed", 1.5); }), "a whole number is expected"));
  set_key(config, "model.my_own_key", 3);  // families have keys that nobody here knows; the run asks the family
  EXPECT_EQ(config.model.inline_config.at("my_own_key"), 3);
}

TEST(Config, TellsWhichKeysDiffer) {
  TrainConfig before;
  before.model.inline_config = {{"hidden_size", 8}, {"rope_parameters", {{"a", 1}, {"b", 2}}}, {"old", true}};
  TrainConfig now = before;
  now.model.inline_config["rope_parameters"] = {{"b", 2}, {"a", 1}};  // the order says nothing
  EXPECT_TRUE(differences(before, now).empty());
  now.training.steps = 60;
  now.optimizer.no_decay = {"norm"};
  now.model.inline_config["hidden_size"] = 16;
  now.model.inline_config["fresh"] = "x";
  now.model.inline_config.erase("old");
  const std::vector<std::string> expected = {"training.steps = 60 (before: 0)",
                                             "optimizer.no_decay = [\"norm\"] (before: [\"norm\", \"bias\"])",
                                             "model.hidden_size = 16 (before: 8)", "model.fresh = \"x\" (before: none)",
                                             "model.old is left out (before: true)"};
  EXPECT_EQ(differences(before, now), expected);
}

TEST(Toml, SyntaxErrorsSayWhere) {
  EXPECT_TRUE(has(message_of([] { parse_toml("a = 1\nb = = 2\n", "x.toml"); }), "x.toml"));
  EXPECT_TRUE(has(message_of([] { parse_toml("a = 1\nb = = 2\n", "x.toml"); }), "line 2"));
  EXPECT_TRUE(has(message_of([] { parse_toml("a = 1\na = 2\n", "x.toml"); }), "line 2"));
  EXPECT_TRUE(has(message_of([] { parse_toml("d = 1979-05-27\n", "x.toml"); }), "date"));
  EXPECT_NE(message_of([] { parse_toml(std::string("a = \"\xff\""), "x.toml"); }), "no error");
  EXPECT_NE(message_of([] { parse_toml(std::string(100000, '['), "x.toml"); }), "no error");
}

TEST(TokenFile, ReadsIdsTextsAndMarks) {
  const TemporaryFolder folder;
  write_file(folder / "a.jsonl",
             "{\"ids\": [1, 2, 3]}\n\n{\"input_ids\": [4, 5], \"labels\": [-100, 5]}\n"
             "{\"ids\": [1, 2, 3, 4, 5, 6, 7], \"learned\": [0, 0, 0, 1, 1, 1, 1]}\n{\"text\": \"abc\"}");
  const auto encode = [](std::string_view text) { return std::vector<int32_t>(text.begin(), text.end()); };
  const auto examples = read_token_file(folder / "a.jsonl", {.encode = encode, .vocabulary = 128, .max_length = 4});
  ASSERT_EQ(examples->size(), 5);
  EXPECT_EQ(examples->get(1).learned, (std::vector<uint8_t>{0, 1}));
  EXPECT_EQ(examples->get(2).ids, (std::vector<int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(examples->get(3).ids, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_EQ(examples->get(4).ids, (std::vector<int32_t>{97, 98, 99}));
}

TEST(TokenFile, BadLinesAreNamedByFileAndNumber) {
  const TemporaryFolder folder;
  const auto error_of = [&](std::string_view text) {
    write_file(folder / "a.jsonl", text);
    return message_of([&] { read_token_file(folder / "a.jsonl", {.vocabulary = 10}); });
  };
  EXPECT_TRUE(has(error_of("{\"ids\": [1]}\n{\"ids\": [10]}\n"), "a.jsonl:2"));
  EXPECT_TRUE(has(error_of("{\"ids\": [1]}\n{\"ids\": [-1]}\n"), "between 0 and 9"));
  EXPECT_TRUE(has(error_of("{\"ids\": [1.5]}"), "a.jsonl:1"));
  EXPECT_TRUE(has(error_of("{\"ids\": [1, 2], \"learned\": [1]}"), "one entry for each of 2"));
  EXPECT_TRUE(has(error_of("{\"id\": [1]}"), "holds \"text\" or \"ids\""));
  EXPECT_TRUE(has(error_of("{\"messages\": []}"), "caravan template"));
  EXPECT_TRUE(has(error_of("[1, 2]"), "object"));
  EXPECT_TRUE(has(error_of("{\"ids\": [1}"), "a.jsonl:1"));
  EXPECT_TRUE(has(error_of("{\"text\": \"a\"}"), "tokenizer"));
  EXPECT_TRUE(has(error_of(" \n\n"), "no example"));
}

data::Dataset small_dataset() {
  data::Dataset dataset;
  std::vector<items::Item> all;
  for (int i = 0; i < 12; ++i) all.push_back({.id = "i" + std::to_string(i)});
  dataset.items = items::Catalogue(std::move(all));
  const std::vector<int32_t> longer = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, shorter = {3, 4, 5};
  dataset.add_user("a", longer);
  dataset.add_user("b", shorter);
  return dataset;
}

ItemTokens two_tokens_each() {
  ItemTokens tokens;
  for (int32_t i = 0; i < 12; ++i) tokens.push_back({10 + i, 50 + i});
  return tokens;
}

TEST(ItemSequences, EveryTrainingItemIsLearnedOnceAndValidationNever) {
  for (const int64_t longest : {1, 2, 3, 4, 9, 50}) {
    const items::PromptFormat format{.bos = 1, .max_items = longest};
    const auto examples = item_sequences(small_dataset(), two_tokens_each(), format);
    std::vector<int> learned(12, 0);
    for (int64_t n = 0; n < examples->size(); ++n) {
      const Example e = examples->get(n);
      EXPECT_EQ(e.ids[0], 1);
      EXPECT_LE(static_cast<int64_t>(e.ids.size()), 1 + 2 * (longest + 1));
      for (size_t i = 1; i < e.ids.size(); ++i) {
        if (e.ids[i] < 50 && e.learned[i] != 0) ++learned[static_cast<size_t>(e.ids[i] - 10)];
      }
    }
    // User a trains on items 0 to 9, user b on item 3.
    EXPECT_EQ(learned, (std::vector<int>{1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 0, 0})) << longest;
  }
}

TEST(ItemSequences, ValidationLearnsTheNextItemsTokensAfterTheNewestHistory) {
  const items::PromptFormat format{.max_items = 3};
  const auto examples = next_item_examples(small_dataset(), two_tokens_each(), format, 0);
  ASSERT_EQ(examples->size(), 2);
  EXPECT_EQ(examples->get(0).ids, (std::vector<int32_t>{17, 57, 18, 58, 19, 59, 20, 60}));
  EXPECT_EQ(examples->get(0).learned, (std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(examples->get(1).ids, (std::vector<int32_t>{13, 53, 14, 54}));
}

TEST(ItemSequences, ALimitedValidationIsASampleOfTheUsers) {
  data::Dataset dataset = small_dataset();
  for (int32_t u = 0; u < 400; ++u)  // the first item tells where in the log the user stands
    dataset.add_user("c" + std::to_string(u), std::vector<int32_t>{u / 34, 1, 0});
  const auto examples = next_item_examples(dataset, two_tokens_each(), {}, 60);
  const auto again = next_item_examples(dataset, two_tokens_each(), {}, 60);
  ASSERT_EQ(examples->size(), 60);
  std::set<int32_t> firsts;
  for (int64_t n = 0; n < 60; ++n) {
    EXPECT_EQ(examples->get(n).ids, again->get(n).ids);
    firsts.insert(examples->get(n).ids[0]);
  }
  EXPECT_GE(firsts.size(), 9u);  // of 12; the first 60 users of the log have 3
}

TEST(ItemSequences, WithAPrefixEveryItemIsAnExampleAfterItsHistory) {
  const items::PromptFormat format{.bos = 1, .max_items = 3, .prefix = true};
  const auto examples = item_sequences(small_dataset(), two_tokens_each(), format);
  ASSERT_EQ(examples->size(), 10 + 1);  // user a trains on 10 items, user b on one
  EXPECT_EQ(examples->get(0).ids, (std::vector<int32_t>{1, 10, 50}));
  EXPECT_EQ(examples->get(0).prefix, 1);
  EXPECT_EQ(examples->get(5).ids, (std::vector<int32_t>{1, 12, 52, 13, 53, 14, 54, 15, 55}));
  EXPECT_EQ(examples->get(5).learned, (std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(examples->get(5).prefix, 7);
  const Batch batch = make_batch({examples->get(0), examples->get(5)});
  EXPECT_EQ(batch.prefixes, (std::vector<int64_t>{1, 7}));
  EXPECT_EQ(step_of(batch, at::kCPU).prefixes, batch.prefixes);
  EXPECT_EQ(next_item_examples(small_dataset(), two_tokens_each(), format, 0)->get(0).prefix, 7);
  EXPECT_TRUE(make_batch({{.ids = {1, 2}}}).prefixes.empty());
}

TEST(ItemSequences, AUsersTokenBeginsTheHistory) {
  const items::PromptFormat format{.bos = 1, .max_items = 3, .users = items::TokenRun{.first = 200, .count = 50}};
  const Example e = next_item_examples(small_dataset(), two_tokens_each(), format, 0)->get(1);
  EXPECT_EQ(e.ids, (std::vector<int32_t>{1, items::user_token(format, "b").value(), 13, 53, 14, 54}));
  EXPECT_EQ(e.learned, (std::vector<uint8_t>{0, 0, 0, 0, 1, 1}));
}

TEST(ItemSequences, AnItemsOwnTokenFollowsItsCodesAndIsNotLearned) {
  const items::PromptFormat format{.bos = 1, .max_items = 3, .items = items::OwnTokens{.run = {100, 12}}};
  const auto examples = next_item_examples(small_dataset(), two_tokens_each(), format, 0);
  EXPECT_EQ(examples->get(1).ids, (std::vector<int32_t>{1, 13, 53, 103, 14, 54, 104}));
  EXPECT_EQ(examples->get(1).learned, (std::vector<uint8_t>{0, 0, 0, 0, 1, 1, 0}));
}

TEST(ItemVocabulary, ItsTokenizerKnowsEveryCodeWord) {
  items::ItemCodes codes({3, 2});
  codes.add(std::vector<int32_t>{2, 1});
  auto files = item_tokenizer_files(codes);
  const auto tokenizer = text::Tokenizer::from_json(files["tokenizer.json"], "tokenizer.json");
  EXPECT_EQ(tokenizer.vocab_size(), 9u);
  EXPECT_EQ(tokenizer.encode("<a_2> <b_1> <c_9>").ids, (std::vector<int32_t>{6, 8, 3}));
  EXPECT_EQ(items::item_tokens(codes, [&](std::string_view w) { return tokenizer.token_to_id(w); }),
            (ItemTokens{{6, 8}}));
  auto own_files = item_tokenizer_files(codes, {.items = true, .users = 2});
  const auto own = text::Tokenizer::from_json(own_files["tokenizer.json"], "tokenizer.json");
  EXPECT_EQ(own.encode("<user:1> <a_2> <b_1> <item:0>").ids, (std::vector<int32_t>{11, 6, 8, 9}));
  EXPECT_EQ(own.encode("<user:1><a_2><b_1><item:0>").ids, (std::vector<int32_t>{11, 6, 8, 9}));
}

// The bytes that tensorboard 2.20's own writer gives for these events (scripts/golden/train.py says how to compare).
TEST(EventFile, RecordsCarryTheirLengthAndChecksums) {
  const TemporaryFolder folder;
  {
    EventFile events(folder / "tb", 1000.5);
    events.scalar("loss", 2.5, 300, 1001.0);
  }
  const auto names = list_folder(folder / "tb");
  ASSERT_EQ(names->size(), 1u);
  const std::string bytes = read_file((folder / "tb/") + names->front());
  const auto u32 = [&](size_t at) {
    uint32_t v = 0;
    for (size_t i = 0; i < 4; ++i) v |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
    return v;
  };
  const auto masked = [&](size_t at, size_t n) {
    const uint32_t crc = crc32c(std::as_bytes(std::span(bytes.data() + at, n)));
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
  };
  size_t records = 0;
  for (size_t at = 0; at < bytes.size(); ++records) {
    const size_t length = u32(at);
    ASSERT_LE(at + 16 + length, bytes.size());
    EXPECT_EQ(u32(at + 8), masked(at, 8));
    EXPECT_EQ(u32(at + 12 + length), masked(at + 12, length));
    at += 16 + length;
  }
  EXPECT_EQ(records, 2u);
  EXPECT_TRUE(has(bytes, "brain.Event:2"));
  EXPECT_TRUE(has(bytes, "loss"));
}

TEST(Report, IsOneFileWithACurveForEveryMetric) {
  std::vector<Json> rows;
  for (int step = 1; step <= 30; ++step) {
    rows.push_back({{"step", step}, {"loss", 5.0 / step}, {"lr", 1e-3}, {"gradient_norm", 1.0}});
    if (step % 10 == 0) rows.push_back({{"step", step}, {"validation_loss", 6.0 / step}, {"validation_recall", 0.1}});
  }
  rows.push_back({{"step", 30}, {"sample", "<b>not bold</b>"}});
  const std::string html = make_report("run <1>", rows, "lr = 1", {{"parameters", 5}});
  EXPECT_TRUE(has(html, "validation_recall"));
  EXPECT_TRUE(has(html, "run &lt;1&gt;"));
  EXPECT_TRUE(has(html, "&lt;b&gt;not bold"));
  EXPECT_FALSE(has(html, "http"));
  EXPECT_FALSE(has(html, "nan"));
  EXPECT_FALSE(has(html, "inf"));
  EXPECT_FALSE(has(make_report("empty", {}, "", Json::object()), "<svg"));
}

TEST(Run, TrainsARecommenderFromADataSetAndSavesAllThatItNeeds) {
  const TemporaryFolder folder;
  data::write_dataset(small_dataset(), folder / "data");
  items::ItemCodes codes({4, 3});
  for (int32_t i = 0; i < 12; ++i) codes.add(std::vector<int32_t>{i / 3, i % 3});
  items::write_codes(codes, folder / "codes.json");
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) ids.push_back("i" + std::to_string(i));
  items::write_index_json(codes, ids, folder / "index.json");
  TrainConfig config;
  config.output = folder / "run";
  config.data.kind = "items";
  config.data.dataset = folder / "data";
  config.data.codes = folder / "index.json";
  config.training.steps = 4;
  config.model.inline_config = {{"model_type", "llama-rec"},
                                {"hidden_size", 16},
                                {"intermediate_size", 32},
                                {"num_hidden_layers", 1},
                                {"num_attention_heads", 2}};
  train::Run run(config, {});
  EXPECT_EQ(run.execute(RunMode::fresh), Outcome::finished);
  EXPECT_EQ(run.plan()["vocabulary"], 4 + 4 + 3);
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json",
                           "special_tokens_map.json", "codes.json", "items.jsonl"})
    EXPECT_TRUE(file_exists((folder / "run/final/") + name)) << name;
  EXPECT_TRUE(file_exists(folder / "run/report.html"));
  EXPECT_TRUE(has(message_of([&] { run.execute(RunMode::fresh); }), "--resume"));
  {  // another process that trains there
    const FileLock lock(folder / "run/run.lock");
    EXPECT_TRUE(has(message_of([&] { run.execute(RunMode::overwrite); }), "another training writes there"));
    EXPECT_TRUE(file_exists(folder / "run/checkpoints/step-00000004/manifest.json"));
  }
  {  // A tokenizer that is given, as a file, brings its companions.
    TrainConfig with_file = config;
    with_file.output = folder / "other";
    with_file.data.tokenizer = folder / "run/final/tokenizer.json";
    train::Run(with_file, {}).execute(RunMode::fresh);
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"})
      EXPECT_EQ(read_file((folder / "other/final/") + name), read_file((folder / "run/final/") + name)) << name;
  }
  // The saved settings are settings.
  train::Run again(read_config(folder / "run/config.toml"), {});
  EXPECT_EQ(again.execute(RunMode::overwrite), Outcome::finished);
  std::vector<std::string> said;
  train::Run finished(read_config(folder / "run/config.toml"),
                      {.say = [&](const std::string& line) { said.push_back(line); }});
  EXPECT_EQ(finished.execute(RunMode::resume), Outcome::nothing_left);
  for (const std::string& line : said) EXPECT_FALSE(has(line, "differ")) << line;
}

TEST(Run, RefusesItsSettingsBeforeItReadsAnything) {
  TrainConfig good;
  good.output = "run";
  good.data.train = "/nonexistent/train.jsonl";
  good.model.inline_config = {{"model_type", "llama"},   {"vocab_size", 10},       {"hidden_size", 16},
                              {"intermediate_size", 32}, {"num_hidden_layers", 1}, {"num_attention_heads", 2}};
  const auto refusal = [&](const std::string& key, const Json& value) {
    TrainConfig config = good;
    set_key(config, key, value);
    return message_of([&] { train::Run(config, {}); });
  };
  EXPECT_TRUE(has(refusal("optimizer.name", "adam"), "did you mean 'adamw'?"));
  EXPECT_TRUE(has(refusal("optimizer.beta2", 1.5), "optimizer.beta2 lie in [0, 1)"));
  EXPECT_TRUE(has(refusal("optimizer.no_decay", Json::array({"norms"})), "'norms' is no kind of weight"));
  EXPECT_TRUE(has(refusal("schedule.name", "cosin"), "did you mean 'cosine'?"));
  EXPECT_TRUE(has(refusal("schedule.decay_type", "steep"), "schedule.decay_type"));
  EXPECT_TRUE(has(refusal("schedule.warmup_ratio", 3), "schedule.warmup_ratio"));
  EXPECT_TRUE(has(refusal("training.objective", "next_tokens"), "did you mean 'next_token'?"));
  EXPECT_TRUE(has(refusal("training.precision", "fp16"), "training.precision"));
  EXPECT_TRUE(has(refusal("training.ema_decay", 1), "training.ema_decay"));
  good.optimizer.name = "sgd";
  EXPECT_TRUE(has(refusal("optimizer.nesterov", true), "needs optimizer.momentum"));
  good.optimizer.name = "muon";
  EXPECT_TRUE(has(refusal("optimizer.adjust_lr", "mine"), "optimizer.adjust_lr"));
  EXPECT_TRUE(has(refusal("seed", 1), "train.jsonl"));  // nothing wrong but the file
}

// What a run refuses of a small LLaMA over tokens with these settings changed; the data file is missing.
std::string refusal_of(const std::vector<std::pair<std::string, Json>>& settings) {
  TrainConfig config;
  config.output = "run";
  config.data.train = "/nonexistent/train.jsonl";
  config.model.inline_config = {{"model_type", "llama"},   {"vocab_size", 10},       {"hidden_size", 16},
                                {"intermediate_size", 32}, {"num_hidden_layers", 1}, {"num_attention_heads", 2}};
  try {
    for (const auto& [key, value] : settings) set_key(config, key, value);
    train::Run(config, {});
  } catch (const Error& error) {
    const bool is_usage = error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::not_found;
    return (is_usage ? "" : "another code: ") + std::string(error.what());
  }
  return "no error";
}

TEST(Run, RefusesAModelThatCannotBe) {
  const auto of = [](const std::string& key, const Json& value) { return refusal_of({{"model." + key, value}}); };
  EXPECT_EQ(of("initializer_range", -1), "model.initializer_range lies in (0, 100], got -1");
  EXPECT_EQ(of("initializer_range", 1e30), "model.initializer_range lies in (0, 100], got 1e+30");
  EXPECT_EQ(of("initializer_range", NAN), "model.initializer_range: a finite number is expected, got nan");
  EXPECT_EQ(of("initializer_range", ""), "model.initializer_range: a number is expected, got \"\"");
  EXPECT_EQ(of("num_hidden_layers", 0), "model.num_hidden_layers must lie in [1, 10000], got 0");
  EXPECT_EQ(of("hidden_size", -8), "model.hidden_size must lie in [1, 1048576], got -8");
  EXPECT_EQ(of("hidden_size", "wide"), "model.hidden_size must be an integer, got \"wide\"");
  EXPECT_EQ(of("attention_dropout", NAN), "model.attention_dropout: a finite number is expected, got nan");
  EXPECT_EQ(of("hidden_dropout", 1), "model.hidden_dropout must lie in [0, 1), got 1");
  EXPECT_TRUE(
      has(of("num_attention_heads", 3), "model.hidden_size (16) must be a multiple of num_attention_heads (3)"));
  EXPECT_TRUE(has(of("num_key_value_heads", 3), "model.num_key_value_heads must lie in [1, 2]"));
  EXPECT_TRUE(has(of("model_type", "lama"), "model: the model type \"lama\" is not known"));
  EXPECT_TRUE(has(of("hidden_act", "none"), "the activation function \"none\" is not known"));
  EXPECT_TRUE(has(of("rms_norm_eps", 1e30), "model.rms_norm_eps lies between 0 and 1"));
  EXPECT_TRUE(has(of("eos_token_id", -7), "model.eos_token_id: a token's id is expected"));
  EXPECT_TRUE(has(of("rope_parameters", {{"rope_theta", NAN}}), "model.rope_parameters: a finite number"));
  EXPECT_TRUE(has(of("eos_token_id", Json::array({1, 2})), "train.jsonl"));  // nothing wrong but the file
}

// What nobody reads says nothing: a misspelt key, or one of another family.
TEST(Run, RefusesModelSettingsThatItsFamilyDoesNotRead) {
  const auto of = [](const std::string& key, const Json& value, const std::string& type = "llama") {
    std::vector<std::pair<std::string, Json>> settings = {{"model.model_type", type}, {"model." + key, value}};
    if (type == "mistral" || type == "qwen2") settings.emplace_back("model.num_key_value_heads", 2);
    return refusal_of(settings);
  };
  EXPECT_EQ(of("mlp_biases", true), "unknown setting 'model.mlp_biases' (did you mean 'mlp_bias'?)");
  EXPECT_EQ(of("partial_rotary_factr", 1),
            "model.partial_rotary_factr: a model of model_type \"llama\" has no such setting (did you mean "
            "'partial_rotary_factor'?); leave it out");
  EXPECT_TRUE(has(of("my_own_key", 3), "model.my_own_key: a model of model_type \"llama\" has no such setting; leave"));
  const std::vector<std::pair<std::string, Json>> of_some = {
      {"sliding_window", 3}, {"use_sliding_window", true}, {"mlp_bias", false}, {"rms_norm_eps", 1e-5}};
  const std::map<std::string, std::vector<bool>> reads = {{"llama", {false, false, true, true}},
                                                          {"mistral", {true, false, false, true}},
                                                          {"qwen2", {true, true, false, true}},
                                                          {"sasrec", {false, false, false, false}}};
  for (const auto& [family, known] : reads) {
    for (size_t i = 0; i < known.size(); ++i) {
      const std::string message = of(of_some[i].first, of_some[i].second, family);
      EXPECT_EQ(has(message, "no such setting"), !known[i]) << family << ": " << message;
    }
  }
  // What a config.json says of a model beside that, and what a run itself reads.
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, Json>>{{"architectures", Json::array({"LlamaForCausalLM"})},
                                                 {"torch_dtype", "float32"},
                                                 {"use_cache", true},
                                                 {"transformers_version", "4.57.1"},
                                                 {"initializer_range", 0.1},
                                                 {"eos_token_id", 1},
                                                 {"max_position_embeddings", 64},
                                                 {"rope_parameters", {{"rope_theta", 1e4}}}})
    EXPECT_TRUE(has(of(key, value), "train.jsonl")) << of(key, value);
}

TEST(Run, RefusesNumbersBeyondTheirLimits) {
  const auto of = [](const std::string& key, const Json& value) { return refusal_of({{key, value}}); };
  EXPECT_EQ(of("training.label_smoothing", 1), "training.label_smoothing lies in [0, 1), got 1");
  EXPECT_EQ(of("training.clip_norm", -1), "training.clip_norm must be at least 0, got -1");
  EXPECT_EQ(of("training.epochs", 1e30), "training.epochs lies between 0 and 1000000, got 1e+30");
  EXPECT_EQ(of("optimizer.eps", 0), "optimizer.eps lies in (0, 1], got 0");
  EXPECT_EQ(of("optimizer.lr", NAN), "optimizer.lr: a finite number is expected, got nan");
  EXPECT_EQ(of("device", "gpu"), "device: cpu, cuda or cuda:N is expected, got 'gpu'");
  for (const char* key : {"save.every", "save.keep_last", "log.every", "training.steps", "training.accumulation",
                          "training.batch_examples", "schedule.warmup_steps", "sample.every", "evaluation.every",
                          "evaluation.beams", "data.validation_limit", "optimizer.weight_decay"})
    EXPECT_TRUE(has(of(key, -1), std::string(key) + " lies between")) << key << ": " << of(key, -1);
  EXPECT_TRUE(has(of("training.accumulation", int64_t{1} << 62), "training.accumulation lies between 1 and 65536"));
}

// Saved settings hold every key: only what differs from its default says something.
TEST(Run, RefusesSettingsThatSayNothing) {
  EXPECT_EQ(refusal_of({{"optimizer.momentum", 0.9}}),
            "optimizer.momentum = 0.9 says nothing without optimizer.name = \"sgd\" or \"muon\": set that, or leave "
            "optimizer.momentum out");
  EXPECT_TRUE(has(refusal_of({{"optimizer.momentum", 0.9}, {"optimizer.name", "sgd"}}), "train.jsonl"));
  EXPECT_TRUE(has(refusal_of({{"optimizer.momentum", 0}}), "train.jsonl"));  // the default
  EXPECT_TRUE(has(refusal_of({{"schedule.decay_steps", 5}}), "without schedule.name = \"wsd\""));
  EXPECT_TRUE(has(refusal_of({{"data.max_items", 5}}), "without data.kind = \"items\""));
  EXPECT_TRUE(has(refusal_of({{"training.sampled_items", 5}}), "codes_and_items"));
  EXPECT_TRUE(has(refusal_of({{"evaluation.every", 5}}), "without data.validation"));
  EXPECT_TRUE(
      has(refusal_of({{"evaluation.patience", 5}, {"data.validation", "v.jsonl"}}), "evaluation.every above 0"));
  EXPECT_TRUE(has(refusal_of({{"evaluation.beams", 60}, {"data.validation", "v.jsonl"}}), "a metric that ranks"));
  EXPECT_TRUE(has(refusal_of({{"sample.every", 5}}), "without sample.prompt"));
  EXPECT_TRUE(has(refusal_of({{"sample.every", 5}, {"sample.prompt", "x"}}), "it needs data.tokenizer"));
}

TEST(Run, CodesAndItemsAreLearnedByOneBackbone) {
  const TemporaryFolder folder;
  data::write_dataset(small_dataset(), folder / "data");
  items::ItemCodes codes({4, 3});
  for (int32_t i = 0; i < 12; ++i) codes.add(std::vector<int32_t>{i / 3, i % 3});
  items::write_codes(codes, folder / "data/codes.json");
  TrainConfig config;
  config.output = folder / "run";
  config.data.kind = "items";
  config.data.dataset = folder / "data";
  config.training.steps = 4;
  config.training.objective = "codes_and_items";
  config.model.inline_config = {{"model_type", "llama-rec"}, {"hidden_size", 16},        {"intermediate_size", 32},
                                {"num_hidden_layers", 1},    {"num_attention_heads", 2}, {"tie_word_embeddings", true}};
  EXPECT_TRUE(has(message_of([&] { train::Run(config, {}); }), "data.item_tokens"));
  config.data.item_tokens = true;
  config.data.user_tokens = 5;
  config.evaluation.item_weight = 0.25;
  train::Run run(config, {});
  EXPECT_EQ(run.execute(RunMode::fresh), Outcome::finished);
  EXPECT_EQ(run.plan()["vocabulary"], 4 + 4 + 3 + 12 + 5);
  const Json saved = parse_json(read_file(folder / "run/final/config.json"), "config.json");
  const items::PromptFormat format = items::read_prompt_format(saved, "config.json");
  EXPECT_EQ(format.levels, (std::vector<items::TokenRun>{{4, 4}, {8, 3}}));
  EXPECT_EQ(format.items->run, (items::TokenRun{11, 12}));
  EXPECT_EQ(format.items->weight, 0.25);
  EXPECT_EQ(format.users, (items::TokenRun{23, 5}));
  train::Run again(read_config(folder / "run/config.toml"), {});
  EXPECT_EQ(again.execute(RunMode::overwrite), Outcome::finished);
}

TEST(Run, KeepsTheModelThatRanksBest) {
  const TemporaryFolder folder;
  data::write_dataset(small_dataset(), folder / "data");
  items::ItemCodes codes({4, 3});
  for (int32_t i = 0; i < 12; ++i) codes.add(std::vector<int32_t>{i / 3, i % 3});
  items::write_codes(codes, folder / "data/codes.json");
  TrainConfig config;
  config.output = folder / "run";
  config.data.kind = "items";
  config.data.dataset = folder / "data";
  config.training.steps = 50;
  config.evaluation = {.every = 2, .patience = 3, .users = 7, .beams = 12, .metric = "mrr@3"};
  config.model.inline_config = {{"model_type", "llama"},
                                {"hidden_size", 16},
                                {"intermediate_size", 32},
                                {"num_hidden_layers", 1},
                                {"num_attention_heads", 2}};
  int64_t calls = 0;
  RunHooks hooks{.rank_items = [&](models::CausalLm&, const RankingTask& task) -> std::pair<Metrics, int64_t> {
    EXPECT_EQ(task.dataset->items.size(), std::ssize(*task.tokens));
    EXPECT_EQ(task.users, 7);
    EXPECT_EQ(task.metric.name, "mrr");
    ++calls;
    return {{{"mrr@3", calls <= 2 ? 0.1 * static_cast<double>(calls) : 0.15}},
            task.users};  // the second is the best: up, then down
  }};
  train::Run run(config, hooks);
  EXPECT_EQ(run.execute(RunMode::fresh), Outcome::stopped_early);
  EXPECT_EQ(calls, 5);
  EXPECT_TRUE(file_exists(folder / "run/best/model.safetensors"));
  EXPECT_TRUE(has(message_of([&] { train::Run(config, {}); }), "ranks no items"));
}

TEST(Config, KnowsRankingMetricsAndTheirDirection) {
  EXPECT_EQ(ranking_metric("ndcg@10")->name, "ndcg");
  EXPECT_EQ(ranking_metric("ndcg@10")->k, 10);
  EXPECT_FALSE(ranking_metric("validation_loss"));
  EXPECT_TRUE(higher_is_better("recall@5"));
  EXPECT_TRUE(higher_is_better("validation_accuracy"));
  EXPECT_FALSE(higher_is_better("validation_loss"));
  EXPECT_FALSE(higher_is_better("validation_perplexity"));
  for (const char* wrong : {"ndcg@", "ndcg@0", "ndcg@-3", "ndcg@1x", "@5", "ndcg@99999999", "validation_los"})
    EXPECT_THROW(ranking_metric(wrong), Error) << wrong;
}

}  // namespace
}  // namespace caravan::train
