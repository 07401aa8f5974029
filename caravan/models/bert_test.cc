// The BERT encoder against transformers (scripts/golden/bert.py): hidden states of a small random model, texts of
// different lengths in one ragged batch.
#include "caravan/models/bert.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/models/tensor_file.h"

namespace caravan::models {
namespace {

const std::string kFolder = CARAVAN_SOURCE_DIR "/tests/golden/codes/bert";

TEST(Bert, HiddenStatesEqualTransformers) {
  const torch::NoGradGuard no_grad;
  const auto model = load_bert(*formats::Checkpoint::open(kFolder));
  auto golden = read_tensors(kFolder + "/hidden.safetensors");
  const at::Tensor lengths = golden.at("lengths"), ids = golden.at("ids"), types = golden.at("token_types");
  const std::vector<int64_t> sizes(lengths.const_data_ptr<int64_t>(),
                                   lengths.const_data_ptr<int64_t>() + lengths.numel());
  nn::Step step = nn::Step::packed(sizes);
  nn::Capture capture{.want_hidden_states = true};
  step.capture = &capture;
  const at::Tensor hidden = (*model)(ids, step, types);
  EXPECT_LT((hidden - golden.at("hidden")).abs().max().item<double>(), 1e-5);
  ASSERT_EQ(capture.hidden_states.size(), 3u);
  EXPECT_LT((capture.hidden_states[0] - golden.at("embeddings")).abs().max().item<double>(), 1e-5);
}

TEST(Bert, ABatchEqualsItsSequencesAlone) {
  const torch::NoGradGuard no_grad;
  BertModel model({.vocab_size = 50, .hidden_size = 16, .layers = 2, .heads = 4, .intermediate_size = 32});
  nn::initialize(model, {.std = 0.3, .seed = 1});
  const at::Tensor ids = at::randint(0, 50, {12}, at::kLong);
  const std::vector<int64_t> both = {5, 7}, one = {7};
  nn::Step packed = nn::Step::packed(both), alone = nn::Step::packed(one);
  const at::Tensor a = model(ids, packed).slice(0, 5), b = model(ids.slice(0, 5), alone);
  EXPECT_LT((a - b).abs().max().item<double>(), 1e-5);
}

TEST(Bert, OtherEncodersAreRefused) {
  EXPECT_THROW(BertConfig::read(Json::parse(R"({"model_type": "roberta"})")), Error);
  EXPECT_THROW(BertConfig::read(Json::parse(R"({"hidden_size": 10, "num_attention_heads": 3})")), Error);
  EXPECT_THROW(BertConfig::read(Json::parse(R"({"position_embedding_type": "relative_key"})")), Error);
}

}  // namespace
}  // namespace caravan::models
