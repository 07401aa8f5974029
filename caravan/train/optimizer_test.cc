// Optimizers and schedules against torch.optim and transformers (scripts/golden/train.py).
#include "caravan/train/optimizer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/models/tensor_file.h"
#include "caravan/nn/linear.h"
#include "caravan/nn/norm.h"
#include "caravan/train/schedule.h"

namespace caravan::train {
namespace {

const std::string kGoldens = CARAVAN_SOURCE_DIR "/tests/golden/train/";
constexpr int64_t kSteps = 20;

struct Inner final : nn::Module {
  Inner() : proj(4, 6, /*bias=*/true) { add("proj", proj); }
  nn::Linear proj;
};

// One weight of every role.
struct Weights final : nn::Module {
  Weights() : embed(5, 4), norm(4, 1e-6), head(8, 3) {
    add("layer", layer);
    add("embed", embed);
    add("norm", norm);
    add("head", head);
  }
  Inner layer;
  nn::Embedding embed;
  nn::RmsNorm norm;
  nn::Linear head;
};

using Tensors = std::map<std::string, at::Tensor>;

const Tensors& goldens() {
  static const Tensors tensors = models::read_tensors(kGoldens + "optimizers.safetensors");
  return tensors;
}

void set_weights(nn::Module& model) {
  for (const nn::NamedParameter& p : model.named_parameters())
    p.parameter->value = goldens().at("start." + p.name).clone();
}

void take_gradients(ParameterStore& store, int64_t step) {
  for (ParameterSlot& slot : store.slots()) slot.gradient.copy_(goldens().at("gradients." + slot.name)[step]);
}

struct Case {
  std::string golden, optimizer;
  OptimizerOptions options;
  bool scheduled = true;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.golden; }

const std::vector<Case> kCases = {
    {"adamw", "adamw", {.lr = 1e-2, .weight_decay = 0.1, .beta2 = 0.95}},
    {"sgd", "sgd", {.lr = 5e-2, .weight_decay = 0}},
    {"sgd_momentum", "sgd", {.lr = 5e-2, .weight_decay = 0.01, .momentum = 0.9}},
    {"sgd_nesterov", "sgd", {.lr = 5e-2, .weight_decay = 0.01, .momentum = 0.9, .nesterov = true}},
    {"adafactor", "adafactor", {.lr = 1e-2, .weight_decay = 0.01}},
    {"adafactor_relative",
     "adafactor",
     {.weight_decay = 0, .first_moment = 0.9, .scale_parameter = false, .relative_step = true, .warmup_init = true},
     false},
    {"muon", "muon", {.lr = 2e-2, .weight_decay = 0.1, .adamw_lr = 1e-2}},
    {"muon_matched",
     "muon",
     {.lr = 1e-2, .weight_decay = 0.1, .momentum = 0.9, .adjust_lr = "match_rms_adamw", .adamw_lr = 1e-2}},
};

double factor_at(const Case& c, int64_t step) {
  return c.scheduled ? schedule_factor({.name = "linear", .warmup_steps = 5, .total_steps = kSteps + 1}, step) : 1.0;
}

class OptimizerGolden : public ::testing::TestWithParam<Case> {};

TEST_P(OptimizerGolden, TwentyStepsEqualTheReference) {
  const Case& c = GetParam();
  Weights model;
  set_weights(model);
  ParameterStore store(model, {});
  const auto optimizer = make_optimizer(c.optimizer, store, c.options);
  for (int64_t step = 0; step < kSteps; ++step) {
    take_gradients(store, step);
    optimizer->step(factor_at(c, step));
  }
  for (const nn::NamedParameter& p : model.named_parameters()) {
    const at::Tensor& expected = goldens().at(c.golden + "." + p.name);
    const double error = (p.parameter->value.detach() - expected).norm().item<double>();
    const double change = (goldens().at("start." + p.name) - expected).norm().item<double>();
    EXPECT_LE(error, 1e-6 * expected.norm().item<double>()) << p.name;
    EXPECT_LE(error, 1e-2 * change) << p.name;
  }
}

TEST_P(OptimizerGolden, ContinuesFromItsSavedStateBitForBit) {
  const Case& c = GetParam();
  Weights whole, resumed;
  set_weights(whole);
  set_weights(resumed);
  ParameterStore whole_store(whole, {}), resumed_store(resumed, {});
  const auto first = make_optimizer(c.optimizer, whole_store, c.options);
  for (int64_t step = 0; step < 7; ++step) {
    take_gradients(whole_store, step);
    first->step(factor_at(c, step));
  }
  const auto second = make_optimizer(c.optimizer, resumed_store, c.options);
  Tensors saved;
  for (const auto& [name, tensor] : first->state()) ASSERT_TRUE(saved.emplace(name, tensor.clone()).second) << name;
  for (auto& [name, tensor] : second->state()) tensor.copy_(saved.at(name));
  second->set_steps(first->steps());
  resumed_store.values().copy_(whole_store.values());
  for (int64_t step = 7; step < kSteps; ++step) {
    take_gradients(whole_store, step);
    take_gradients(resumed_store, step);
    first->step(factor_at(c, step));
    second->step(factor_at(c, step));
  }
  EXPECT_TRUE(at::equal(whole_store.values(), resumed_store.values()));
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerGolden, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.golden; });

TEST(Optimizer, AnUnknownNameIsAnsweredWithTheNearest) {
  Weights model;
  set_weights(model);
  ParameterStore store(model, {});
  try {
    make_optimizer("adamv", store, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'adamw'"), std::string::npos) << error.what();
  }
}

TEST(Schedule, EqualsTransformers) {
  const Json expected = parse_json(read_file(kGoldens + "schedules.json"), "schedules.json");
  const std::map<std::string, ScheduleOptions> cases = {
      {"constant", {.name = "constant", .warmup_steps = 5}},
      {"linear", {.name = "linear", .warmup_steps = 5, .total_steps = 40}},
      {"cosine", {.name = "cosine", .warmup_steps = 5, .total_steps = 40}},
      {"cosine_min", {.name = "cosine", .warmup_steps = 5, .total_steps = 40, .min_ratio = 0.1}},
      {"cosine_waves", {.name = "cosine", .warmup_steps = 5, .total_steps = 40, .cycles = 1.5}},
      {"inverse_sqrt", {.name = "inverse_sqrt", .warmup_steps = 5}},
      {"inverse_sqrt_cold", {.name = "inverse_sqrt", .timescale = 20}},
      {"wsd", {.name = "wsd", .warmup_steps = 5, .total_steps = 40, .min_ratio = 0.05, .decay_steps = 10}},
      {"wsd_linear", {.name = "wsd", .warmup_steps = 5, .total_steps = 40, .decay_steps = 10, .decay_type = "linear"}},
      {"wsd_sqrt", {.name = "wsd", .warmup_steps = 5, .total_steps = 40, .decay_steps = 10, .decay_type = "1-sqrt"}},
  };
  ASSERT_EQ(expected.size(), cases.size());
  for (const auto& [name, options] : cases) {
    for (size_t step = 0; step < expected[name].size(); ++step) {
      EXPECT_NEAR(schedule_factor(options, static_cast<int64_t>(step)), expected[name][step].get<double>(), 1e-15)
          << name << " at " << step;
    }
  }
}

TEST(ParameterStore, GradientsOfSeveralBackwardPassesAddUpInFp32) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    Weights model;
    set_weights(model);
    ParameterStore store(model, {.precision = precision});
    const auto type = precision == Precision::bf16 ? at::kBFloat16 : at::kFloat;
    const at::Tensor x = at::ones({2, 4}, type);
    store.begin_window();
    model.layer.proj(x).sum().backward();
    model.layer.proj(x * 2).sum().backward();
    store.end_window();
    for (const ParameterSlot& slot : store.slots()) {
      const double expected = slot.name == "layer.proj.weight" ? 6 : slot.name == "layer.proj.bias" ? 4 : 0;
      EXPECT_TRUE(slot.gradient.eq(expected).all().item<bool>()) << slot.name << slot.gradient;
    }
    // A second window starts from nothing.
    store.begin_window();
    model.layer.proj(x).sum().backward();
    store.end_window();
    EXPECT_EQ(store.slots()[0].gradient.max().item<float>(), 2);
  }
}

TEST(ParameterStore, TheModelComputesWithRoundedCopiesOfTheMasterWeights) {
  Weights model;
  set_weights(model);
  ParameterStore store(model, {.precision = Precision::bf16});
  store.values().add_(1e-4);  // far below a bf16 step for most weights
  store.publish();
  for (const ParameterSlot& slot : store.slots()) {
    EXPECT_EQ(slot.parameter->value.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(slot.parameter->value.detach(), slot.value.to(at::kBFloat16)));
    EXPECT_TRUE(at::allclose(slot.value, goldens().at("start." + slot.name) + 1e-4));
  }
}

}  // namespace
}  // namespace caravan::train
