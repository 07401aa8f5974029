// The loop: what it learns, that accumulation changes nothing, that a resumed run is the same run.
#include "caravan/train/trainer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/models/load.h"
#include "caravan/train/checkpoint.h"

namespace caravan::train {
namespace {

constexpr int64_t kVocabulary = 23;

Json small_config(double dropout = 0) {
  return {{"model_type", "llama"},    {"vocab_size", kVocabulary},     {"hidden_size", 32},
          {"intermediate_size", 64},  {"num_hidden_layers", 2},        {"num_attention_heads", 2},
          {"num_key_value_heads", 2}, {"max_position_embeddings", 64}, {"tie_word_embeddings", false},
          {"rms_norm_eps", 1e-6},     {"attention_dropout", dropout},  {"hidden_dropout", dropout}};
}

std::unique_ptr<models::CausalLm> small_model(double dropout = 0) {
  auto model = std::make_unique<models::CausalLm>(small_config(dropout));
  nn::initialize(*model, {.std = 0.05, .seed = 3});
  return model;
}

// The planted rule: each token is the last but one plus 7, mod the vocabulary; two free tokens begin.
std::shared_ptr<TokenExamples> planted(int64_t count, uint64_t seed, int64_t longest = 14) {
  auto examples = std::make_shared<TokenExamples>();
  for (int64_t n = 0; n < count; ++n) {
    Example e;
    const uint64_t draw = mix(seed, static_cast<uint64_t>(n));
    e.ids = {static_cast<int32_t>(draw % kVocabulary), static_cast<int32_t>(draw / 64 % kVocabulary)};
    const auto length = static_cast<size_t>(6 + draw / 8192 % static_cast<uint64_t>(longest - 5));
    while (e.ids.size() < length) e.ids.push_back((e.ids[e.ids.size() - 2] + 7) % static_cast<int32_t>(kVocabulary));
    e.learned.assign(e.ids.size(), 1);
    e.learned[0] = e.learned[1] = 0;
    examples->add(e);
  }
  return examples;
}

TrainerOptions quick(int64_t steps) {
  TrainerOptions o{.total_steps = steps, .log_every = 1, .seed = 5};
  o.optimizer_options.lr = 3e-3;
  o.schedule = {.name = "linear", .warmup_steps = 3};
  return o;
}

std::map<std::string, at::Tensor> weights_of(nn::Module& model) {
  std::map<std::string, at::Tensor> all;
  for (const nn::NamedParameter& p : model.named_parameters()) all.emplace(p.name, p.parameter->value.detach().clone());
  return all;
}

void expect_equal_bits(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
}

Json without_timing(Json row) {
  row.erase("timing");
  return row;
}

TEST(Trainer, LearnsAPlantedRuleInSeconds) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const auto model = small_model();
    PackedBatches batches(planted(600, 1), {.token_budget = 512, .seed = 2});
    TrainerOptions options = quick(180);
    options.optimizer_options.lr = 1e-2;
    options.store.precision = precision;
    const Objective& objective = find_objective("next_token");
    Trainer trainer(*model, objective, batches, options);
    EXPECT_EQ(trainer.run(), Outcome::finished);
    model->train(false);
    const Metrics unseen = evaluate_objective(*model, objective, planted(200, 99), 512, "validation");
    EXPECT_GT(unseen.at("validation_accuracy"), 0.95) << "loss " << unseen.at("validation_loss");
    EXPECT_LT(trainer.metrics().back().at("loss").get<double>(), 0.3 * trainer.metrics()[0].at("loss").get<double>());
  }
}

// 3 batches a step with the last window partial, against one batch that holds the whole window.
TEST(Trainer, AccumulatedBatchesEqualOneLargeBatch) {
  const auto examples = planted(40, 7);
  const auto parts_model = small_model(), whole_model = small_model();
  PackedBatches parts(examples, {.token_budget = 1 << 20, .max_examples = 5, .shuffle = false});   // 8 batches an epoch
  PackedBatches whole(examples, {.token_budget = 1 << 20, .max_examples = 15, .shuffle = false});  // 15, 15, 10
  TrainerOptions a = quick(3), b = quick(3);
  a.accumulation = 3;
  a.total_batches = 8;
  a.optimizer = b.optimizer = "sgd";  // its steps are proportional to the gradient; Adam's hide its size
  a.optimizer_options.lr = b.optimizer_options.lr = 1.0;
  a.optimizer_options.weight_decay = b.optimizer_options.weight_decay = 0;
  const Objective& objective = find_objective("next_token");
  Trainer first(*parts_model, objective, parts, a), second(*whole_model, objective, whole, b);
  first.run();
  second.run();
  for (size_t i = 0; i < 3; ++i) {
    const double expected = second.metrics()[i].at("loss").get<double>();
    EXPECT_NEAR(first.metrics()[i].at("loss").get<double>(), expected, 1e-6 * expected);
  }
  EXPECT_EQ(first.metrics()[2].at("tokens"), second.metrics()[2].at("tokens"));
  const at::Tensor difference = first.store().values() - second.store().values();
  EXPECT_LE(difference.norm().item<double>(), 1e-6 * second.store().values().norm().item<double>());
}

TEST(Trainer, WindowsAreWeightedByTokensNotByBatches) {
  // One long and one short example: the mean over targets, not the mean of two means.
  auto examples = std::make_shared<TokenExamples>();
  examples->add({.ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}});
  examples->add({.ids = {4, 4}});
  const auto model = small_model();
  Measurement sums;
  const Objective& objective = find_objective("next_token");
  PackedBatches all(examples, {.token_budget = 100, .shuffle = false});
  objective.measure(*model, all.next(), sums);
  ASSERT_EQ(sums.targets, 11);
  PackedBatches singles(examples, {.token_budget = 1, .shuffle = false});
  TrainerOptions options = quick(1);
  options.accumulation = 2;
  Trainer trainer(*model, objective, singles, options);
  trainer.run();
  EXPECT_NEAR(trainer.metrics()[0].at("loss").get<double>(), sums.loss / 11, 1e-6);
}

struct ResumeCase {
  std::string name, optimizer;
  Precision precision = Precision::fp32;
  int64_t stop = 7;
  bool checkpointing = false;
};
void PrintTo(const ResumeCase& c, std::ostream* out) { *out << c.name; }

class Resume : public ::testing::TestWithParam<ResumeCase> {};

// Dropout, accumulation, averaging, evaluation and early stopping counters all run through the interruption.
TEST_P(Resume, GivesTheBitsOfARunThatNeverStopped) {
  const ResumeCase& c = GetParam();
  const TemporaryFolder folder;
  const auto examples = planted(60, 3);
  const Objective& objective = find_objective("next_token");
  const auto make_options = [&](const std::string& name) {
    TrainerOptions o = quick(13);
    o.folder = folder / name;
    o.accumulation = 2;
    o.ema_decay = 0.9;
    o.log_every = 3;  // so that the interruption falls between two lines
    o.evaluate_every = 5;
    o.optimizer = c.optimizer;
    o.store.precision = c.precision;
    o.gradient_checkpointing = c.checkpointing;
    return o;
  };
  const auto run = [&](models::CausalLm& model, const std::string& name, int64_t stop_after, bool resume) {
    PackedBatches batches(examples, {.token_budget = 120, .seed = 4});
    int64_t steps = 0;
    TrainerHooks hooks{
        .evaluate = [&](models::Head& m) { return evaluate_objective(m, objective, examples, 512, "validation"); },
        .interrupted = [&] { return stop_after > 0 && ++steps == stop_after; }};
    Trainer trainer(model, objective, batches, make_options(name), hooks);
    EXPECT_EQ(resume && trainer.resume(), resume);
    const Outcome outcome = trainer.run();
    EXPECT_EQ(outcome, stop_after > 0 ? Outcome::interrupted : Outcome::finished);
    return trainer.metrics();
  };
  const auto straight = small_model(0.2), stopped = small_model(0.2), resumed = small_model(0.2);
  const std::vector<Json> expected = run(*straight, "straight", 0, false);
  run(*stopped, "resumed", c.stop, false);
  const std::vector<Json> got = run(*resumed, "resumed", 0, true);
  expect_equal_bits(weights_of(*straight), weights_of(*resumed));
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(without_timing(got[i]).dump(), without_timing(expected[i]).dump());
  const auto final_state = [&](const std::string& name) {
    return load_checkpoint(*newest_checkpoint((folder / name) + "/checkpoints", [](const std::string&) {}));
  };
  const LoadedCheckpoint a = final_state("straight"), b = final_state("resumed");
  expect_equal_bits(a.tensors, b.tensors);
  EXPECT_EQ(a.state.dump(), b.state.dump());
  EXPECT_EQ(crc32c_of_file((folder / "straight") + "/final/model.safetensors"),
            crc32c_of_file((folder / "resumed") + "/final/model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(All, Resume,
                         ::testing::Values(ResumeCase{"adamw", "adamw"},
                                           ResumeCase{"adamw_bf16", "adamw", Precision::bf16}, ResumeCase{"sgd", "sgd"},
                                           ResumeCase{"adafactor", "adafactor"}, ResumeCase{"muon", "muon"},
                                           ResumeCase{"first_step", "adamw", Precision::fp32, 1},
                                           ResumeCase{"last_step", "adamw", Precision::fp32, 13},
                                           ResumeCase{"checkpointing", "adamw", Precision::fp32, 6, true}),
                         [](const auto& info) { return info.param.name; });

// The first pass takes the kernels without gradients, which round otherwise; wrong dropout masks would show at 1e-3.
TEST(Trainer, GradientCheckpointingChangesOnlyRounding) {
  std::vector<std::map<std::string, at::Tensor>> results;
  for (const bool checkpointing : {false, true}) {
    const auto model = small_model(0.1);
    PackedBatches batches(planted(30, 3), {.token_budget = 100, .seed = 4});
    TrainerOptions options = quick(4);
    options.gradient_checkpointing = checkpointing;
    Trainer trainer(*model, find_objective("next_token"), batches, options);
    trainer.run();
    results.push_back(weights_of(*model));
  }
  for (const auto& [name, tensor] : results[0]) {
    EXPECT_LT((tensor - results[1].at(name)).abs().max().item<double>(), 1e-6) << name;
  }
}

TEST(Trainer, StopsWithADiagnosisWhereNothingStaysFinite) {
  const auto model = small_model();
  for (const nn::NamedParameter& p : model->named_parameters()) {
    // The weight itself is finite, what it computes is not.
    if (p.name == "model.layers.1.mlp.up_proj.weight") p.parameter->value.fill_(std::numeric_limits<float>::max());
  }
  PackedBatches batches(planted(30, 3), {.token_budget = 100});
  TrainerOptions options = quick(10);
  options.max_bad_steps = 3;
  std::vector<std::string> said;
  Trainer trainer(*model, find_objective("next_token"), batches, options,
                  {.say = [&](const std::string& line) { said.push_back(line); }});
  try {
    trainer.run();
    FAIL() << "it went on";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("model.layers.1.mlp.up_proj (Linear)"), std::string::npos) << what;
    EXPECT_NE(what.find("3 steps in a row"), std::string::npos) << what;
    EXPECT_NE(what.find("no checkpoint"), std::string::npos) << what;  // the run has no folder
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  }
  EXPECT_EQ(said.size(), 3u);
}

// Finite itself, what is computed with it is not.
constexpr float kTooLarge = std::numeric_limits<float>::max();
constexpr const char* kBroken = "model.layers.1.mlp.up_proj.weight";

at::Tensor value_of(Trainer& trainer, std::string_view name) {
  for (const ParameterSlot& slot : trainer.store().slots()) {
    if (slot.name == name) return slot.value;
  }
  throw Error(ErrorCode::not_found, std::string(name));
}

// A run of 6 steps with a checkpoint after every second one; after_step sees the trainer.
struct ShortRun {
  explicit ShortRun(std::function<void(Trainer&)> after_step, int64_t save_every = 2) {
    TrainerOptions options = quick(6);
    options.folder = folder / "run";
    options.save_every = save_every;
    TrainerHooks hooks{.progress = [this, after_step](const StepReport&) { after_step(*trainer); },
                       .say = [this](const std::string& line) { said += line + "\n"; }};
    trainer = std::make_unique<Trainer>(*model, find_objective("next_token"), batches, options, hooks);
  }
  // What it failed with; no error: it ended well.
  std::optional<Error> failure() {
    try {
      trainer->run();
    } catch (const Error& error) {
      return error;
    }
    return std::nullopt;
  }
  bool has(const std::string& name) const { return is_folder((folder / "run/") + name); }

  TemporaryFolder folder;
  std::unique_ptr<models::CausalLm> model = small_model();
  PackedBatches batches{planted(30, 3), {.token_budget = 100}};
  std::string said;
  std::unique_ptr<Trainer> trainer;
};

TEST(Trainer, NeverSavesAWeightThatIsNotFinite) {
  for (const int64_t lost_at : {4, 5, 6}) {  // before a good number of steps, before the last one, after it
    ShortRun run([&](Trainer& t) {
      if (t.step() == lost_at) value_of(t, kBroken).view({-1})[3] = NAN;
    });
    const auto error = run.failure();
    ASSERT_TRUE(error.has_value()) << lost_at;
    EXPECT_EQ(error->code(), ErrorCode::invalid_argument);
    const std::string what = error->what();
    EXPECT_NE(what.find(fmt::format("The weight {} has 1 non-finite values of 2048", kBroken)), std::string::npos)
        << what;
    EXPECT_NE(what.find(fmt::format("at step {}", lost_at == 5 ? 6 : lost_at)), std::string::npos) << what;
    EXPECT_FALSE(run.has("final"));
    EXPECT_FALSE(run.has("checkpoints/step-00000006"));
    const char* last = lost_at == 4 ? "checkpoints/step-00000002" : "checkpoints/step-00000004";
    EXPECT_NE(what.find(last), std::string::npos) << what;
    EXPECT_TRUE(run.has(last));
  }
}

TEST(Trainer, ARunWhoseLastStepsFailEndsWithADiagnosis) {
  ShortRun run(
      [&](Trainer& t) {
        if (t.step() == 4) value_of(t, kBroken).fill_(kTooLarge);
      },
      0);
  const auto error = run.failure();
  ASSERT_TRUE(error.has_value());
  const std::string what = error->what();
  EXPECT_NE(what.find("the last 2 steps"), std::string::npos) << what;
  EXPECT_NE(what.find("model.layers.1.mlp.up_proj (Linear)"), std::string::npos) << what;
  EXPECT_NE(what.find("There is no checkpoint"), std::string::npos) << what;
  EXPECT_FALSE(run.has("final"));
  EXPECT_FALSE(run.has("checkpoints"));
}

TEST(Trainer, AFailedLastStepDoesNotCostAFiniteModel) {
  at::Tensor kept;
  ShortRun run([&](Trainer& t) {
    at::Tensor weight = value_of(t, kBroken);
    if (t.step() == 5) kept = weight.clone(), weight.fill_(kTooLarge);
    if (t.step() == 6) weight.copy_(kept);
  });
  const auto error = run.failure();
  ASSERT_FALSE(error.has_value()) << error->what();
  EXPECT_NE(run.said.find("the last 1 steps were skipped"), std::string::npos) << run.said;
  EXPECT_TRUE(run.has("final"));
}

TEST(Trainer, ABadStepIsSkippedAndCounted) {
  const auto model = small_model();
  PackedBatches batches(planted(30, 3), {.token_budget = 100});
  TrainerOptions options = quick(6);
  Trainer* running = nullptr;
  options.log_every = 1;
  std::map<std::string, at::Tensor> before;
  TrainerHooks hooks{.progress = [&](const StepReport& r) {
    at::Tensor weight = value_of(*running, kBroken);
    if (r.step == 2) before = weights_of(*model), weight.fill_(kTooLarge);
    if (r.step == 3) weight.copy_(before.at(kBroken)), expect_equal_bits(before, weights_of(*model));
  }};
  Trainer trainer(*model, find_objective("next_token"), batches, options, hooks);
  running = &trainer;
  trainer.run();
  EXPECT_EQ(trainer.metrics().back().at("bad_steps"), 1);
  EXPECT_TRUE(std::isfinite(trainer.metrics().back().at("loss").get<double>()));
}

TEST(Trainer, StopsEarlyAndKeepsTheBestModel) {
  const TemporaryFolder folder;
  const auto model = small_model();
  PackedBatches batches(planted(30, 3), {.token_budget = 100});
  TrainerOptions options = quick(50);
  options.folder = folder / "run";
  options.evaluate_every = 2;
  options.patience = 2;
  double loss = 5;
  std::map<std::string, at::Tensor> best;
  Trainer* running = nullptr;
  TrainerHooks hooks{.evaluate = [&](models::Head&) -> Metrics {
    if (running->step() == 4) best = weights_of(*model);
    return {{"validation_loss", running->step() <= 4 ? loss -= 1 : loss += 1}};
  }};
  Trainer trainer(*model, find_objective("next_token"), batches, options, hooks);
  running = &trainer;
  EXPECT_EQ(trainer.run(), Outcome::stopped_early);
  EXPECT_EQ(trainer.step(), 8);
  expect_equal_bits(weights_of(*models::load_causal_lm(folder / "run/best")), best);
}

TEST(Checkpoint, DamagedOnesArePassedOver) {
  const TemporaryFolder folder;
  const std::string checkpoints = folder / "checkpoints";
  const auto write_model = [](const std::string& path) {
    const auto model = small_model();
    models::save_model(*model, path);
  };
  for (const int64_t step : {5, 10, 15}) {
    save_checkpoint(checkpoints, {.step = step, .state = {{"step", step}}, .tensors = {{"m", at::ones({3})}}},
                    write_model);
  }
  std::vector<std::string> warnings;
  const auto newest = [&] {
    return newest_checkpoint(checkpoints, [&](const std::string& w) { warnings.push_back(w); });
  };
  EXPECT_EQ(newest(), checkpoints + "/step-00000015");
  // One flipped byte, the size unchanged.
  const std::string weights = checkpoints + "/step-00000015/model/model.safetensors";
  std::string bytes = read_file(weights);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file(weights, bytes);
  EXPECT_EQ(newest(), checkpoints + "/step-00000010");
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("model.safetensors"), std::string::npos) << warnings[0];
  std::filesystem::remove(checkpoints + "/step-00000010/training.safetensors");
  EXPECT_EQ(newest(), checkpoints + "/step-00000005");
  prune_checkpoints(checkpoints, 1);
  EXPECT_FALSE(file_exists(checkpoints + "/step-00000005/manifest.json"));
}

TEST(PackedBatches, EveryExampleOnceAnEpochInAnOrderOfItsOwn) {
  const auto examples = planted(50, 11);
  PackedBatches batches(examples, {.token_budget = 64, .seed = 9});
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    int64_t tokens = 0;
    std::vector<int64_t> order;
    const int64_t count = batches.batches_in_epoch(epoch);
    for (int64_t n = 0; n < count; ++n) {
      EXPECT_EQ(batches.epoch(), epoch);
      const double before = batches.epochs_done();
      const Batch batch = batches.next();
      EXPECT_NEAR(batches.epochs_done() - before, static_cast<double>(batch.lengths.size()) / 50, 1e-12);
      EXPECT_LE(batch.tokens(), 64);
      tokens += batch.tokens();
      order.push_back(batch.ids[0].item<int64_t>());
    }
    int64_t expected = 0;
    for (int64_t i = 0; i < examples->size(); ++i) expected += examples->length(i);
    EXPECT_EQ(tokens, expected);
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(Batch, TargetsAreTheNextLearnedTokensOfTheSameSequence) {
  const Batch batch = make_batch({{.ids = {1, 2, 3}}, {.ids = {4, 5, 6}, .learned = {1, 0, 1}}, {.ids = {7}}});
  EXPECT_TRUE(at::equal(batch.ids, at::tensor({1, 2, 3, 4, 5, 6, 7}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.targets, at::tensor({2, 3, -100, -100, 6, -100, -100}, at::kLong)));
  EXPECT_EQ(batch.target_count, 3);
}

}  // namespace
}  // namespace caravan::train
