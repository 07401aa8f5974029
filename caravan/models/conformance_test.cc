// What every registered family must satisfy, on its tiny config. The registry is the list of cases: there is no skip
// list.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/models/heads.h"
#include "caravan/models/load.h"
#include "caravan/nn/observe.h"

namespace caravan::models {
namespace {

constexpr double kTolerance = 2e-5;

double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.detach() - b.detach()).abs().max().item<double>();
}

Tensor random_ids(int64_t count, int64_t vocabulary) { return at::randint(3, vocabulary, {count}, at::kLong); }

class Conformance : public testing::TestWithParam<const Family*> {
 protected:
  void SetUp() override {
    torch::manual_seed(3);
    model = std::make_unique<CausalLm>(GetParam()->tiny_config());
    nn::initialize(*model, {.std = 0.2, .seed = 5});
  }
  Tensor full(const Tensor& ids) {
    const torch::NoGradGuard no_grad;
    const int64_t lengths[] = {ids.size(0)};
    nn::Step step = nn::Step::packed(lengths);
    return model->forward(ids, step);
  }
  int64_t vocabulary() { return model->backbone().vocab_size(); }
  std::unique_ptr<CausalLm> model;
};

TEST_P(Conformance, CachedStepsEqualTheFullForward) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = random_ids(45, vocabulary()), want = full(ids);
  nn::KvCache cache(model->backbone().cache_shape(), at::kFloat);
  nn::CacheSequence sequence = cache.new_sequence();
  // A prompt, a chunk with a past, then single tokens through the paged kernel.
  for (int64_t begin = 0, n = 17; begin < 45; begin += n, n = begin < 38 ? 21 : 1) {
    const int64_t lengths[] = {n};
    nn::Step step = nn::Step::cached(cache, {&sequence}, lengths);
    EXPECT_LT(distance(model->forward(ids.slice(0, begin, begin + n), step), want.slice(0, begin, begin + n)),
              kTolerance)
        << begin;
  }
}

TEST_P(Conformance, ABatchEqualsItsSequencesAlone) {
  const torch::NoGradGuard no_grad;
  const std::vector<int64_t> lengths = {9, 1, 14};
  const Tensor ids = random_ids(24, vocabulary());
  nn::Step packed = nn::Step::packed(lengths);
  const Tensor together = model->forward(ids, packed);
  nn::KvCache cache(model->backbone().cache_shape(), at::kFloat);
  std::vector<nn::CacheSequence> sequences;
  for (size_t b = 0; b < lengths.size(); ++b) sequences.push_back(cache.new_sequence());
  nn::Step cached = nn::Step::cached(cache, {&sequences[0], &sequences[1], &sequences[2]}, lengths);
  EXPECT_LT(distance(model->forward(ids, cached), together), kTolerance);
  for (size_t b = 0; b < lengths.size(); ++b) {
    const int64_t begin = packed.starts[b], end = packed.starts[b + 1];
    EXPECT_LT(distance(full(ids.slice(0, begin, end)), together.slice(0, begin, end)), kTolerance) << b;
  }
  // Single-token steps of all sequences together, each at its own position.
  const Tensor next = random_ids(3, vocabulary());
  const std::vector<int64_t> one = {1, 1, 1};
  nn::Step step = nn::Step::cached(cache, {&sequences[0], &sequences[1], &sequences[2]}, one);
  const Tensor decoded = model->forward(next, step);
  for (int64_t b = 0; b < 3; ++b) {
    const Tensor whole = at::cat({ids.slice(0, packed.starts[b], packed.starts[b + 1]), next.slice(0, b, b + 1)});
    EXPECT_LT(distance(full(whole)[-1], decoded[b]), kTolerance) << b;
  }
}

TEST_P(Conformance, SaveAndLoadKeepEveryBit) {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("caravan-conformance-{}-{}", GetParam()->name, getpid());
  for (const std::string format : {"safetensors", "torch", "flax"}) {
    save_model(*model, folder.string(), {.format = format});
    const auto copy = load_causal_lm(folder.string());
    const auto a = model->named_parameters(), b = copy->named_parameters();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(at::equal(a[i].parameter->value, b[i].parameter->value)) << a[i].name;
    EXPECT_EQ(copy->config()["architectures"][0], GetParam()->class_prefix + "ForCausalLM");
    std::filesystem::remove_all(folder);
  }
}

TEST_P(Conformance, TheLossFallsAndGradientsAreFinite) {
  model->requires_grad();
  const Tensor ids = random_ids(20, vocabulary());
  const std::vector<int64_t> lengths = {12, 8};
  double first = 0, last = 0;
  for (int i = 0; i < 40; ++i) {
    nn::Step step = nn::Step::packed(lengths);
    for (Tensor& p : model->parameters()) p.mutable_grad() = Tensor();
    const Tensor loss = CausalLm::loss(model->forward(ids, step), ids, step);
    loss.backward();
    for (const nn::NamedParameter& p : model->named_parameters()) {
      ASSERT_TRUE(at::isfinite(p.parameter->value.grad()).all().item<bool>()) << p.name;
    }
    const torch::NoGradGuard no_grad;
    for (Tensor& p : model->parameters()) p.add_(p.grad(), -0.1);  // plain gradient descent
    (i == 0 ? first : last) = loss.item<double>();
  }
  EXPECT_LT(last, first / 2);
}

TEST_P(Conformance, BFloat16StaysWithinItsOwnError) {
  const Tensor ids = random_ids(16, vocabulary()), want = full(ids);
  model->to(at::kBFloat16);
  const Tensor got = full(ids).to(at::kFloat);
  EXPECT_LT(distance(got, want), 0.06 * want.abs().max().item<double>());
}

TEST_P(Conformance, TheCheckNamesTheLayerOfTheFirstNonFiniteValue) {
  for (const nn::NamedParameter& p : model->named_parameters()) {
    if (p.name == "model.layers.1.mlp.up_proj.weight")
      p.parameter->value[3].fill_(std::numeric_limits<float>::infinity());
  }
  nn::FiniteCheck check;
  const nn::ScopedObserver watch(check);
  try {
    full(random_ids(4, vocabulary()));
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("model.layers.1.mlp.up_proj"), std::string::npos) << e.what();
  }
}

TEST_P(Conformance, TheProfileCountsEveryLayerOnce) {
  nn::Profiler profiler;
  {
    const nn::ScopedObserver watch(profiler);
    full(random_ids(4, vocabulary()));
  }
  int64_t mlps = 0;
  for (const auto& row : profiler.rows()) mlps += row.path.ends_with(".mlp") ? row.calls : 0;
  EXPECT_EQ(mlps, 2);
  EXPECT_FALSE(profiler.rows_by_kind().empty());
}

INSTANTIATE_TEST_SUITE_P(Families, Conformance, testing::ValuesIn(families()),
                         [](const auto& info) { return info.param->name; });

}  // namespace
}  // namespace caravan::models
