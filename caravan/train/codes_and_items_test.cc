// The objective codes_and_items against the same sums written down row by row.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/items/prompt.h"
#include "caravan/train/item_start.h"
#include "caravan/train/objective.h"

namespace caravan::train {
namespace {

// <pad> <bos> | a: 2..5 | b: 6..8 | items: 9..15
const items::PromptFormat kFormat{
    .bos = 1, .levels = {{2, 4}, {6, 3}}, .items = items::OwnTokens{.run = {.first = 9, .count = 7}}};
constexpr int64_t kVocabulary = 18;  // the last two tokens are nobody's

std::unique_ptr<models::CausalLm> small_model(bool tied) {
  Json config = {{"model_type", "llama-rec"},   {"vocab_size", kVocabulary}, {"hidden_size", 16},
                 {"intermediate_size", 24},     {"num_hidden_layers", 2},    {"num_attention_heads", 2},
                 {"tie_word_embeddings", tied}, {"rms_norm_eps", 1e-6}};
  items::write_prompt_format(kFormat, config);
  auto model = std::make_unique<models::CausalLm>(config);
  nn::initialize(*model, {.std = 0.5, .seed = 4});
  for (const nn::NamedParameter& p : model->named_parameters()) p.parameter->value.requires_grad_(true);
  return model;
}

// One history of three items, of which the first is context only, and one of two.
Batch two_histories() {
  return make_batch({{.ids = {1, 3, 6, 10, 2, 8, 15, 5, 7, 9}, .learned = {0, 0, 0, 0, 1, 1, 0, 1, 1, 0}},
                     {.ids = {1, 4, 7, 12, 4, 6, 11}, .learned = {0, 1, 1, 0, 1, 1, 0}}});
}

// Rows that predict something, [first of the run, how many, row, target].
struct Wanted {
  int64_t first, count, row, target;
};
const std::vector<Wanted> kCodes = {{2, 4, 3, 2},  {6, 3, 4, 8},  {2, 4, 6, 5},  {6, 3, 7, 7},
                                    {2, 4, 10, 4}, {6, 3, 11, 7}, {2, 4, 13, 4}, {6, 3, 14, 6}};
const std::vector<Wanted> kItems = {{9, 7, 3, 15}, {9, 7, 6, 9}, {9, 7, 10, 12}, {9, 7, 13, 11}};

Tensor plain_loss(const Tensor& logits, const std::vector<Wanted>& all) {
  Tensor sum = at::zeros({});
  for (const Wanted& w : all)
    sum = sum - at::log_softmax(logits[w.row].slice(0, w.first, w.first + w.count), 0)[w.target - w.first];
  return sum;
}

Tensor logits_of(models::CausalLm& model, const Batch& batch) {
  nn::Step step = nn::Step::packed(batch.lengths);
  return model.forward(batch.ids, step);
}

TEST(CodesAndItems, IsTheSumOverLevelsAndItems) {
  for (const bool tied : {true, false}) {
    const auto model = small_model(tied);
    const Batch batch = two_histories();
    const Objective& objective = find_objective("codes_and_items");
    const Tensor expected =
        plain_loss(logits_of(*model, batch), kCodes) + 0.7 * plain_loss(logits_of(*model, batch), kItems);
    const Tensor got = objective.loss(*model, batch, {.item_weight = 0.7});
    EXPECT_NEAR(got.item<float>(), expected.item<float>(), 1e-4);
    std::vector<Tensor> weights;
    for (const nn::NamedParameter& p : model->named_parameters()) weights.push_back(p.parameter->value);
    const auto right = torch::autograd::grad({expected}, weights), ours = torch::autograd::grad({got}, weights);
    for (size_t i = 0; i < weights.size(); ++i) EXPECT_TRUE(at::allclose(ours[i], right[i], 1e-3, 1e-5)) << i;
    // Without the items' part it is the codes' alone; so is what is measured.
    const float codes = plain_loss(logits_of(*model, batch), kCodes).item<float>();
    EXPECT_NEAR(objective.loss(*model, batch, {.item_weight = 0}).item<float>(), codes, 1e-4);
    EXPECT_NEAR(find_objective("item_codes").loss(*model, batch, {}).item<float>(), codes, 1e-4);
    Measurement sums;
    objective.measure(*model, batch, sums);
    EXPECT_NEAR(sums.loss, codes, 1e-4);
    EXPECT_EQ(sums.targets, 8);
  }
}

TEST(ParallelCodes, AllCodesAreSaidByTheRowBeforeTheItem) {
  const auto model = small_model(true);
  const Batch batch = two_histories();
  const Objective& objective = find_objective("parallel_codes");
  const std::vector<Wanted> all = {{2, 4, 3, 2},  {6, 3, 3, 8},  {2, 4, 6, 5},  {6, 3, 6, 7},
                                   {2, 4, 10, 4}, {6, 3, 10, 7}, {2, 4, 13, 4}, {6, 3, 13, 6}};
  const float expected = plain_loss(logits_of(*model, batch), all).item<float>();
  EXPECT_NEAR(objective.loss(*model, batch, {}).item<float>(), expected, 1e-4);
  Measurement sums;
  objective.measure(*model, batch, sums);
  EXPECT_NEAR(sums.loss, expected, 1e-4);
  EXPECT_EQ(sums.targets, 8);
}

TEST(CodesAndItems, ASampleOfTheItemsIsRightOnAverage) {
  const torch::NoGradGuard no_grad;
  const auto model = small_model(true);
  const Batch batch = two_histories();
  const Objective& objective = find_objective("codes_and_items");
  const auto items = [&](int64_t sampled) {
    return (objective.loss(*model, batch, {.sampled_items = sampled}) -
            objective.loss(*model, batch, {.item_weight = 0}))
        .item<double>();
  };
  const double all = items(0);
  EXPECT_EQ(items(7), all);  // as many as there are: all of them
  at::manual_seed(1);
  double sum = 0;
  constexpr int kDraws = 400;
  for (int n = 0; n < kDraws; ++n) sum += items(6);
  // The logarithm of an average that scatters lies below the average's: close, not equal.
  EXPECT_NEAR(sum / kDraws, all, 0.2 * all);
  at::manual_seed(5);
  const double once = items(3);
  at::manual_seed(5);
  EXPECT_EQ(items(3), once);
}

TEST(ItemStart, ItemsTokensKeepTheDistancesOfTheirVectors) {
  const torch::NoGradGuard no_grad;
  for (const bool tied : {true, false}) {
    const auto model = small_model(tied);
    const Tensor before = model->backbone().input_embedding().weight.value.clone();
    at::manual_seed(3);
    const Tensor vectors = at::randn({7, 16}) + 5;  // as wide as the model, far from the origin
    start_items(*model, kFormat.items->run, vectors, 0.02);
    const Tensor& rows = model->backbone().input_embedding().weight.value;
    const Tensor items = rows.slice(0, 9, 16);
    const Tensor ours = at::cdist(items, items), wanted = at::cdist(vectors, vectors);
    const double scale = (ours.sum() / wanted.sum()).item<double>();
    EXPECT_TRUE(at::allclose(ours, wanted * scale, 1e-3, 1e-5));
    EXPECT_NEAR(items.square().mean().sqrt().item<double>(), 0.02, 1e-4);
    EXPECT_TRUE(at::equal(rows.slice(0, 0, 9), before.slice(0, 0, 9)));
    EXPECT_TRUE(at::equal(rows.slice(0, 16), before.slice(0, 16)));
    EXPECT_TRUE(at::equal(model->output_weight().slice(0, 9, 16), items));  // tied or not
    // Vectors of fewer dimensions than the model leave the others as they are.
    const Tensor old = items.clone();
    start_items(*model, kFormat.items->run, at::randn({7, 5}), 0.02);
    EXPECT_TRUE(at::equal(items.slice(1, 5), old.slice(1, 5)));
    EXPECT_FALSE(at::equal(items.slice(1, 0, 5), old.slice(1, 0, 5)));
  }
}

TEST(CodesAndItems, ItsErrorsSayWhatIsMissing) {
  const auto error_of = [](const std::string& objective, const Json& config) -> std::string {
    models::CausalLm model(config);
    nn::initialize(model, {});
    try {
      find_objective(objective).loss(model, two_histories(), {});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  Json config = small_model(true)->config();
  config["item_prompt"].erase("items");
  EXPECT_NE(error_of("codes_and_items", config).find("data.item_tokens"), std::string::npos);
  EXPECT_EQ(error_of("item_codes", config), "no error");  // the items' tokens are just tokens then
  config.erase("item_prompt");
  EXPECT_NE(error_of("item_codes", config).find("every level"), std::string::npos);
}

}  // namespace
}  // namespace caravan::train
