// Every family and rotary scaling against transformers, in fp32: logits, hidden states, attentions, losses, gradients.
// Goldens and their versions: tests/golden/models/index.json, made by scripts/golden/models.py.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/file.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/models/heads.h"
#include "caravan/models/load.h"
#include "caravan/models/padded_batch.h"

namespace caravan::models {
namespace {

const std::string kFolder = CARAVAN_SOURCE_DIR "/tests/golden/models/";

class Golden {
 public:
  explicit Golden(const std::string& name) : file_(formats::Checkpoint::open(kFolder + name + ".safetensors")) {}
  Tensor operator[](const std::string& name) const {
    const formats::TensorInfo* info = file_->find(name);
    if (info == nullptr) throw std::runtime_error("no golden tensor " + name);
    const auto bytes = file_->read(name);
    return at::from_blob(const_cast<std::byte*>(bytes.bytes.data()), info->shape, to_scalar_type(info->dtype)).clone();
  }

 private:
  std::unique_ptr<formats::Checkpoint> file_;
};

const Json& index_file() {
  static const Json index = parse_json(read_file(kFolder + "index.json"), "index.json");
  return index;
}

// The generator of scripts/golden/models.py.
void set_weights(nn::Module& model, uint32_t seed) {
  auto parameters = model.named_parameters();
  std::sort(parameters.begin(), parameters.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (size_t i = 0; i < parameters.size(); ++i) {
    nn::Parameter& p = *parameters[i].parameter;
    const bool norm = parameters[i].name.find("norm") != std::string::npos;
    p.value = at::empty(p.shape, at::kFloat);
    auto* values = p.value.mutable_data_ptr<float>();
    uint32_t state = seed + static_cast<uint32_t>(i);
    for (int64_t j = 0; j < p.value.numel(); ++j) {
      state = 1664525u * state + 1013904223u;
      const auto unit = static_cast<float>((state >> 8) & 0xFFFF) / 65536.0f - 0.5f;
      values[j] = unit * (norm ? 0.5f : 0.4f) + (norm ? 1.0f : 0.0f);
    }
    p.value.requires_grad_();
  }
}

double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.detach().to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class ModelGolden : public testing::TestWithParam<std::string> {};

TEST_P(ModelGolden, EqualsTransformers) {
  const Golden golden(GetParam());
  CausalLm model(index_file()["cases"][GetParam()]);
  set_weights(model, 1000);
  const PaddedBatch batch(golden["attention_mask"]);
  nn::Step step = batch.step();
  nn::Capture capture{.want_hidden_states = true, .want_attentions = true};
  step.capture = &capture;
  const Tensor logits = model.forward(batch.pack(golden["input_ids"]), step);
  EXPECT_LT(distance(logits, golden["logits"]), 1e-5);
  EXPECT_LT(distance(at::stack(capture.hidden_states), golden["hidden_states"]), 1e-5);
  std::vector<Tensor> first;
  for (const auto& layer : capture.attentions) first.push_back(layer[0]);
  EXPECT_LT(distance(at::stack(first), golden["attentions.0"]), 1e-5);

  // The loss with padding kept, and its gradients with and without gradient checkpointing.
  const PaddedBatch padded(golden["attention_mask"], /*keep_padding=*/true);
  for (const bool checkpointing : {false, true}) {
    model.train(checkpointing);
    model.backbone().gradient_checkpointing = checkpointing;
    nn::Step again = padded.step();
    for (Tensor& p : model.parameters()) p.mutable_grad() = Tensor();
    const Tensor all = model.forward(padded.pack(golden["input_ids"]), again);
    EXPECT_LT(distance(padded.unpack(all), golden["padded_logits"]), 1e-5);
    const Tensor loss = CausalLm::loss(all, padded.pack(golden["labels"]), again);
    EXPECT_LT(distance(loss, golden["loss"]), 1e-5);
    loss.backward();
    for (const nn::NamedParameter& p : model.named_parameters()) {
      const double norm = golden["grad_norm." + p.name].item<double>();
      EXPECT_NEAR(p.parameter->value.grad().norm().item<double>(), norm, 1e-4 * norm + 1e-7) << p.name;
      EXPECT_LT(distance(p.parameter->value.grad().flatten().slice(0, 0, 8), golden["grad_head." + p.name]),
                1e-4 * norm + 1e-7)
          << p.name;
    }
  }
}

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& [name, config] : index_file()["cases"].items()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Families, ModelGolden, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param; });

TEST(HeadGolden, EqualsTransformers) {
  const Golden golden("heads");
  const Tensor ids = golden["input_ids"];
  const PaddedBatch batch(at::ones_like(ids));
  const Tensor rows = batch.pack(ids);
  Json config = index_file()["heads"];

  for (const std::string kind : {"single", "multi", "regression"}) {
    config["problem_type"] = kind == "single"  ? "single_label_classification"
                             : kind == "multi" ? "multi_label_classification"
                                               : kind;
    SequenceClassifier model(config);
    set_weights(model, 2000);
    nn::Step step = batch.step();
    const Tensor logits = model.forward(model.backbone().embed(rows), step);
    EXPECT_LT(distance(logits, golden["sequence.logits"]), 1e-5);
    EXPECT_LT(
        distance(model.loss(logits, golden["sequence." + kind + ".labels"]), golden["sequence." + kind + ".loss"]),
        1e-5)
        << kind;
  }
  TokenClassifier token(config);
  set_weights(token, 2000);
  nn::Step step = batch.step();
  const Tensor token_logits = token.forward(token.backbone().embed(rows), step);
  EXPECT_LT(distance(batch.unpack(token_logits), golden["token.logits"]), 1e-5);
  EXPECT_LT(distance(TokenClassifier::loss(token_logits, batch.pack(golden["token.labels"])), golden["token.loss"]),
            1e-5);

  QuestionAnswerer question(config);
  set_weights(question, 2000);
  step = batch.step();
  const Tensor edges = question.forward(question.backbone().embed(rows), step);
  EXPECT_LT(distance(batch.unpack(edges.select(1, 0)), golden["question.start_logits"]), 1e-5);
  EXPECT_LT(distance(batch.unpack(edges.select(1, 1)), golden["question.end_logits"]), 1e-5);
  EXPECT_LT(distance(QuestionAnswerer::loss(edges, golden["question.start"], golden["question.end"], step),
                     golden["question.loss"]),
            1e-5);
}

}  // namespace
}  // namespace caravan::models
