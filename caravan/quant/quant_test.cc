// Recipes, statistics, the methods' mathematics, and whole checkpoints through them.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>

#include "caravan/base/error.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/memory_checkpoint.h"
#include "caravan/models/load.h"
#include "caravan/ops/dequantize.h"
#include "caravan/ops/quantize.h"
#include "caravan/quant/awq.h"
#include "caravan/quant/gptq.h"
#include "caravan/quant/grid.h"
#include "caravan/quant/half_range.h"
#include "caravan/quant/imatrix.h"
#include "caravan/quant/methods.h"

namespace caravan::quant {
namespace {

using at::Tensor;
using formats::MemoryCheckpoint;
using formats::TensorInfo;

constexpr DType kGridTypes[] = {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1,   DType::q2_k,  DType::q3_k,
                                DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl, DType::iq4_xs};

std::vector<std::byte> blocks_of(DType dtype, const std::vector<float>& values, int64_t columns) {
  const DTypeInfo& info = dtype_info(dtype);
  std::vector<std::byte> blocks(values.size() / static_cast<size_t>(info.block_size) *
                                static_cast<size_t>(info.block_bytes));
  ops::quantize_rows({dtype, std::ssize(values) / columns, columns}, values, {}, blocks.data());
  return blocks;
}

std::vector<float> random_values(int64_t n, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = normal(engine);
  return values;
}

Json llama_config(int64_t layers = 8, bool tied = false) {
  return {{"model_type", "llama"},
          {"architectures", Json::array({"LlamaForCausalLM"})},
          {"vocab_size", 64},
          {"hidden_size", 256},
          {"intermediate_size", 512},
          {"num_hidden_layers", layers},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 4},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"max_position_embeddings", 128},
          {"tie_word_embeddings", tied},
          {"hidden_act", "silu"},
          {"torch_dtype", "float32"}};
}

// A model with fresh weights as a checkpoint in memory.
std::unique_ptr<MemoryCheckpoint> model_checkpoint(const Json& config) {
  models::CausalLm model(config);
  nn::initialize(model, {.std = 0.05, .seed = 3});
  auto checkpoint = std::make_unique<MemoryCheckpoint>("made", config);
  for (const nn::NamedParameter& p : model.named_parameters()) {
    const Tensor value = p.parameter->value.contiguous();
    const auto* bytes = static_cast<const std::byte*>(value.const_data_ptr());
    checkpoint->add({p.name, DType::f32, p.parameter->shape}, {bytes, bytes + value.nbytes()});
  }
  return checkpoint;
}

std::vector<std::vector<int32_t>> random_windows(int64_t count, int64_t length) {
  std::mt19937 engine(1);
  std::vector<std::vector<int32_t>> windows(static_cast<size_t>(count));
  for (auto& window : windows) {
    for (int64_t i = 0; i < length; ++i) window.push_back(static_cast<int32_t>(engine() % 64));
  }
  return windows;
}

TEST(Recipe, MixturesFollowLlamaCpp) {
  MemoryCheckpoint from("made", llama_config(32));
  const TypeChooser choose(from, {.recipe = "Q4_K_M"});
  const auto type = [&](const TypeChooser& c, const std::string& name, int64_t columns = 4096) {
    return c({name, DType::bf16, {4096, columns}});
  };
  // use_more_bits(i, 32): i < 4, i >= 28, and every third from 6 on
  for (const int layer : {0, 3, 6, 9, 27, 28, 31}) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    EXPECT_EQ(type(choose, prefix + "self_attn.v_proj.weight"), DType::q6_k) << layer;
    EXPECT_EQ(type(choose, prefix + "mlp.down_proj.weight"), DType::q6_k) << layer;
    EXPECT_EQ(type(choose, prefix + "self_attn.q_proj.weight"), DType::q4_k) << layer;
  }
  for (const int layer : {4, 5, 7, 26}) {
    EXPECT_EQ(type(choose, fmt::format("model.layers.{}.mlp.down_proj.weight", layer)), DType::q4_k) << layer;
  }
  EXPECT_EQ(type(choose, "lm_head.weight"), DType::q6_k);
  EXPECT_EQ(type(choose, "lm_head.weight", 576), DType::q8_0);
  EXPECT_EQ(type(choose, "model.layers.5.mlp.up_proj.weight", 576), DType::q5_0);
  EXPECT_EQ(type(choose, "model.layers.5.mlp.up_proj.weight", 48), DType::f16);
  EXPECT_EQ(choose({"model.norm.weight", DType::bf16, {4096}}), DType::f32);
  const TypeChooser small(from, {.recipe = "q3_k_m"});
  EXPECT_EQ(type(small, "model.layers.1.self_attn.v_proj.weight"), DType::q5_k);
  EXPECT_EQ(type(small, "model.layers.2.self_attn.v_proj.weight"), DType::q4_k);
  EXPECT_EQ(type(small, "model.layers.1.mlp.down_proj.weight"), DType::q5_k);
  EXPECT_EQ(type(small, "model.layers.2.mlp.down_proj.weight"), DType::q4_k);
  EXPECT_EQ(type(small, "model.layers.2.self_attn.o_proj.weight"), DType::q4_k);
  EXPECT_EQ(type(small, "model.layers.2.mlp.up_proj.weight"), DType::q3_k);
}

TEST(Recipe, RulesComeFirstAndNamesAreChecked) {
  MemoryCheckpoint from("made", llama_config());
  for (const char* name : {"model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp.up_proj.weight"})
    from.add({name, DType::f32, {64, 64}}, std::vector<std::byte>(64 * 64 * 4));
  const TypeChooser choose(
      from, {.recipe = "q4_0", .rules = {parse_rule("blk.*.ffn_down=q8_0"), parse_rule("layers.1.*proj=f16")}});
  EXPECT_EQ(choose({"model.layers.1.mlp.down_proj.weight", DType::f32, {64, 64}}), DType::q8_0);
  EXPECT_EQ(choose({"model.layers.1.mlp.up_proj.weight", DType::f32, {64, 64}}), DType::f16);
  EXPECT_EQ(choose({"model.layers.0.mlp.up_proj.weight", DType::f32, {64, 64}}), DType::q4_0);
  EXPECT_THROW(TypeChooser(from, {.recipe = "q4_0_0"}), Error);
  EXPECT_THROW(TypeChooser(from, {.recipe = "q4_0", .rules = {parse_rule("lm_head=f16")}}), Error);  // no such matrix
  for (const char* text : {"", "=q4_0", "v_proj", "v_proj=q9", "v_proj=i32"})
    EXPECT_THROW(parse_rule(text), Error) << text;
}

// Levels read back from a block are the ones that were put into it, and reproduce what the block says.
TEST(Grid, LevelsGoThereAndBack) {
  for (const DType dtype : kGridTypes) {
    const auto n = static_cast<size_t>(dtype_info(dtype).block_size);
    const std::vector<float> values = random_values(static_cast<int64_t>(n), 7);
    std::vector<std::byte> block = blocks_of(dtype, values, static_cast<int64_t>(n));
    std::vector<float> start(n), step(n), before(n), after(n);
    ops::dequantize(dtype, block.data(), before.data(), static_cast<int64_t>(n));
    read_grid(dtype, block, start, step);
    const std::span<const float> points = grid_points(dtype);
    std::vector<uint8_t> levels(n);
    for (size_t i = 0; i < n; ++i) {
      const float position = step[i] == 0 ? points[0] : (before[i] - start[i]) / step[i];
      const auto near = [&](float p) { return std::abs(p - position) < 0.01f; };
      const auto found = std::ranges::find_if(points, near);
      ASSERT_NE(found, points.end()) << to_string(dtype) << " " << i << " " << position;
      levels[i] = static_cast<uint8_t>(found - points.begin());
    }
    std::vector<std::byte> other = block;
    put_levels(dtype, std::vector<uint8_t>(n, 1), other);
    put_levels(dtype, levels, other);
    EXPECT_EQ(other, block) << to_string(dtype);
    for (size_t i = 0; i < n; ++i) {
      levels[i] = static_cast<uint8_t>((i * 7 + 3) % points.size());
    }
    put_levels(dtype, levels, other);
    ops::dequantize(dtype, other.data(), after.data(), static_cast<int64_t>(n));
    for (size_t i = 0; i < n; ++i) {
      ASSERT_NEAR(after[i], start[i] + step[i] * points[levels[i]], 1e-5) << to_string(dtype) << " " << i;
    }
  }
  EXPECT_FALSE(has_grid(DType::q8_0));
}

// |(Q - W) X|^2 where inputs are correlated: compensation must win clearly over rounding alone.
TEST(Gptq, LowersTheErrorOfTheOutputs) {
  constexpr int64_t kRows = 48, kColumns = 512, kInputs = 2048;
  at::manual_seed(1);
  const Tensor mix = at::randn({64, kColumns}) * 0.3;
  const Tensor x = at::matmul(at::randn({kInputs, 64}), mix) + 0.3 * at::randn({kInputs, kColumns});
  const Tensor gram = at::mm(x.t(), x);
  const std::vector<float> values = random_values(kRows * kColumns, 9);
  const auto error = [&](DType dtype, const std::vector<std::byte>& blocks) {
    std::vector<float> y(values.size());
    ops::dequantize(dtype, blocks.data(), y.data(), std::ssize(y));
    const Tensor d = at::from_blob(y.data(), {kRows, kColumns}, at::kFloat) -
                     at::from_blob(const_cast<float*>(values.data()), {kRows, kColumns}, at::kFloat);
    return (at::mm(d, gram) * d).sum().item<double>();
  };
  for (const DType dtype : kGridTypes) {
    const std::vector<std::byte> plain = blocks_of(dtype, values, kColumns);
    std::vector<std::byte> compensated(plain.size());
    std::vector<float> changed = values;
    gptq({dtype, kRows, kColumns}, changed, gram, compensated);
    EXPECT_LT(error(dtype, compensated), 0.6 * error(dtype, plain)) << to_string(dtype);
  }
  std::vector<float> changed = values;
  std::vector<std::byte> out(values.size());
  EXPECT_THROW(gptq({DType::q8_0, kRows, kColumns}, changed, gram, out), Error);
  EXPECT_THROW(gptq({DType::q4_0, kRows, kColumns}, changed, at::eye(3), out), Error);
}

TEST(Gptq, RoundsALayerThatNothingReachedToTheNearest) {
  constexpr int64_t kRows = 4, kColumns = 64;
  const std::vector<float> values = random_values(kRows * kColumns, 5);
  const std::vector<std::byte> plain = blocks_of(DType::q4_0, values, kColumns);
  std::vector<std::byte> blocks(plain.size());
  std::vector<float> changed = values;
  gptq({DType::q4_0, kRows, kColumns}, changed, at::zeros({kColumns, kColumns}), blocks);
  const auto error = [&](const std::vector<std::byte>& rounded) {
    std::vector<float> back(values.size());
    ops::dequantize(DType::q4_0, rounded.data(), back.data(), std::ssize(back));
    double sum = 0;
    for (size_t i = 0; i < back.size(); ++i) sum += std::pow(static_cast<double>(back[i] - values[i]), 2);
    return sum;
  };
  EXPECT_NEAR(error(blocks), error(plain), 0.05 * error(plain));
}

TEST(Calibration, CountsWhatFlowsIn) {
  const auto checkpoint = model_checkpoint(llama_config(2));
  const auto model = models::load_causal_lm(*checkpoint);
  Calibration seen({.gram = true});
  const auto windows = random_windows(3, 16);
  seen.run(*model, windows);
  const InputStatistics* q = seen.find("model.layers.1.self_attn.q_proj");
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(q->rows, 48);
  EXPECT_EQ(seen.find("model.layers.1.self_attn.v_proj"), q);  // one input, counted once
  const InputStatistics* down = seen.find("model.layers.0.mlp.down_proj");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->squares.size(0), 512);
  EXPECT_TRUE(at::allclose(q->gram.diagonal().to(at::kDouble), q->squares, 1e-4, 1e-6));
  const Importances importances = importances_of(seen);
  EXPECT_EQ(importances.size(), 14U);
  for (const float v : importances.at("model.layers.0.mlp.down_proj")) EXPECT_GT(v, 0);
  // In pieces, with a budget of one matrix: the same numbers.
  GramSource source(*model, windows, {.bytes = 1});
  for (const char* path : {"model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"}) {
    EXPECT_TRUE(at::allclose(source.find(path)->gram, seen.find(path)->gram)) << path;
  }
  EXPECT_EQ(source.find("nothing"), nullptr);
  // Asked in the order of the names, as the tensors of a file may stand, and for a head that is not run: one pass.
  int passes = 0;
  GramSource expecting(*model, windows, {.progress = [&](int64_t done) { passes += done == 0 ? 1 : 0; }});
  const std::vector<std::string> paths = {"model.layers.0.mlp.down_proj", "model.layers.0.mlp.gate_proj",
                                          "model.layers.0.self_attn.k_proj", "model.layers.1.self_attn.q_proj"};
  expecting.expect({paths.begin(), paths.end()});
  for (const std::string& path : paths) EXPECT_NE(expecting.find(path), nullptr) << path;
  EXPECT_EQ(expecting.find("lm_head"), nullptr);
  EXPECT_EQ(passes, 1);
}

TEST(Awq, ChangesNumbersButNotTheModel) {
  const auto checkpoint = model_checkpoint(llama_config(2));
  const auto model = models::load_causal_lm(*checkpoint);
  GramSource grams(*model, random_windows(4, 32), {});
  const auto rescaled = awq(*checkpoint, grams, {.choose = TypeChooser(*checkpoint, {.recipe = "q4_0"})});
  const auto other = models::load_causal_lm(*rescaled);
  bool changed = false;
  for (const TensorInfo& t : checkpoint->tensors()) {
    const auto a = checkpoint->read(t.name), b = rescaled->read(t.name);
    changed = changed || !std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
  }
  EXPECT_TRUE(changed);
  // What the rounding weighs errors with: of columns that were scaled up, less than of the source's.
  Importances importances;
  awq(*checkpoint, grams, {.choose = TypeChooser(*checkpoint, {.recipe = "q4_0"}), .importances = &importances});
  EXPECT_EQ(importances.size(), 14U);  // o_proj's, too
  const std::string up = "model.layers.1.mlp.up_proj";
  const std::vector<float> plain = importance_of(*grams.find(up));
  const auto spread = [](const std::vector<float>& v) { return std::ranges::max(v) / std::ranges::min(v); };
  EXPECT_LE(spread(importances.at(up)), spread(plain));
  const torch::InferenceMode guard;
  const int64_t length = 24;
  const Tensor ids = at::arange(length, at::kLong);
  nn::Step s1 = nn::Step::packed({&length, 1}), s2 = nn::Step::packed({&length, 1});
  EXPECT_TRUE(at::allclose(model->forward(ids, s1), other->forward(ids, s2), 1e-3, 1e-4));
}

// Every type and method: a GGUF that loads, whose logits are near the source's.
TEST(QuantizeCheckpoint, WritesModelsThatLoadAndAgree) {
  const auto checkpoint = model_checkpoint(llama_config(2));
  const auto model = models::load_causal_lm(*checkpoint);
  TemporaryFolder folder;
  const torch::InferenceMode guard;
  const int64_t length = 24;
  const Tensor ids = at::arange(length, at::kLong);
  nn::Step step = nn::Step::packed({&length, 1});
  const Tensor expected = model->forward(ids, step);
  const auto distance = [&](const std::string& type, const std::string& method) {
    QuantizeOptions options{.recipe = {.recipe = type}, .write = {.format = "gguf"}};
    GramSource grams(*model, random_windows(8, 64), {});
    MethodContext context{*checkpoint, &grams, options};
    const auto other = find_method(method).prepare(context);
    const std::string out = folder.path() + "/" + type + method + ".gguf";
    quantize_checkpoint(other != nullptr ? *other : *checkpoint, out, options);
    const auto written = models::load_causal_lm(out, {.keep_blocks = true});
    nn::Step own = nn::Step::packed({&length, 1});
    return ((written->forward(ids, own) - expected).norm() / expected.norm()).item<double>();
  };
  for (const std::string& type : recipe_names()) {
    // Random weights have no structure: their logits move about four times as much as the weights themselves.
    const double bits = type.starts_with("q2") ? 0.8 : type.starts_with("q3") ? 0.6 : 0.4;
    EXPECT_LT(distance(type, "rtn"), bits) << type;
  }
  EXPECT_LT(distance("q8_0", "rtn"), 0.03);
  EXPECT_LT(distance("q4_k_m", "gptq"), 0.9 * distance("q4_k_m", "rtn") + 0.01);
  EXPECT_LT(distance("q4_0", "awq"), 0.4);
  EXPECT_THROW(find_method("magic"), Error);
}

// The bytes of ggml's reference in GGUF files, also where the type stands in for another; a folder's groups are nearer.
TEST(QuantizeCheckpoint, SearchesScalesOfFolders) {
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const std::vector<float> values = random_values(64 * 96, 11);
  MemoryCheckpoint checkpoint("made", llama_config(1));
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  checkpoint.add({name, DType::f32, {64, 96}}, {bytes, bytes + values.size() * sizeof(float)});
  TemporaryFolder folder;
  const auto written = [&](const std::string& recipe, DType expected) {
    const std::string out = folder.path() + "/" + recipe + (is_folder_recipe(recipe) ? "" : ".gguf");
    const char* format = is_folder_recipe(recipe) ? "compressed-tensors" : "gguf";
    quantize_checkpoint(checkpoint, out, {.recipe = {.recipe = recipe}, .write = {.format = format}});
    const auto there = formats::Checkpoint::open(out);
    EXPECT_EQ(there->find(name)->dtype, expected) << recipe;
    const auto blocks = there->read(name);
    return std::vector<std::byte>(blocks.bytes.begin(), blocks.bytes.end());
  };
  const auto error = [&](DType dtype, const std::vector<std::byte>& blocks) {
    std::vector<float> y(values.size());
    ops::dequantize(dtype, blocks.data(), y.data(), std::ssize(y));
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i)
      sum += std::pow(static_cast<double>(y[i]) - static_cast<double>(values[i]), 2);
    return sum;
  };
  const std::vector<std::byte> reference = blocks_of(DType::q4_0, values, 96);
  EXPECT_EQ(written("q4_0", DType::q4_0), reference);
  EXPECT_EQ(written("q4_k_m", DType::q5_0), blocks_of(DType::q5_0, values, 96));
  EXPECT_LT(error(DType::q4_0, written("int4", DType::q4_0)), 0.95 * error(DType::q4_0, reference));
}

TEST(QuantizeCheckpoint, RefusesNumbersThatBlocksCannotHold) {
  for (const float bad : {std::nanf(""), INFINITY, 1e6f}) {
    auto checkpoint = std::make_unique<MemoryCheckpoint>("made", llama_config(1));
    std::vector<float> values = random_values(64 * 256, 1);
    values[300] = bad;
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    checkpoint->add({"model.embed_tokens.weight", DType::f32, {64, 256}}, {bytes, bytes + values.size() * 4});
    TemporaryFolder folder;
    const std::string out = folder.path() + "/x.gguf";
    EXPECT_THROW(quantize_checkpoint(*checkpoint, out, {.recipe = {.recipe = "q4_0"}, .write = {.format = "gguf"}}),
                 Error);
    EXPECT_FALSE(std::ifstream(out).good());
  }
}

// The same checkpoint with the first number of a tensor changed.
std::unique_ptr<MemoryCheckpoint> with_number(const std::string& name, float value, DType dtype = DType::f32) {
  const auto plain = model_checkpoint(llama_config(1));
  auto changed = std::make_unique<MemoryCheckpoint>("made", plain->config());
  for (TensorInfo t : plain->tensors()) {
    const formats::TensorBytes read = plain->read(t.name);
    std::vector<std::byte> bytes(read.bytes.begin(), read.bytes.end());
    if (t.name == name) {
      std::memcpy(bytes.data(), &value, sizeof value);
      if (dtype == DType::bf16) {  // the upper half of each float
        for (size_t i = 0; i < bytes.size() / 4; ++i) std::memmove(&bytes[2 * i], &bytes[4 * i + 2], 2);
        bytes.resize(bytes.size() / 2);
        t.dtype = dtype;
      }
    }
    changed->add(t, std::move(bytes));
  }
  return changed;
}

std::map<std::string, DType> written_types(const formats::Checkpoint& from, const std::string& type) {
  QuantizeOptions options{.recipe = {.recipe = type}, .write = {.format = "gguf"}};
  if (is_folder_recipe(type)) options.write.format = "compressed-tensors";
  options.recipe.beyond_half = beyond_half(from, options.recipe);
  EXPECT_EQ(TypeChooser(from, options.recipe).warnings().size(), options.recipe.beyond_half.empty() ? 0u : 1u);
  options.warn = [](const std::string& line) { ADD_FAILURE() << line; };  // nothing became infinite
  const TemporaryFolder folder;
  const std::string path = folder / (is_folder_recipe(type) ? "out" : "out.gguf");
  quantize_checkpoint(from, path, options);
  const auto written = formats::Checkpoint::open(path);
  std::map<std::string, DType> types;
  for (const TensorInfo& t : written->tensors()) types[t.name] = t.dtype;
  if (is_folder_recipe(type)) {
    EXPECT_EQ(get_string(written->config(), "torch_dtype", "config"),
              types["model.norm.weight"] == DType::f32    ? "float32"
              : types["model.norm.weight"] == DType::bf16 ? "bfloat16"
                                                          : "float16");
  }
  return types;
}

TEST(QuantizeCheckpoint, WhatAHalfCannotHoldKeepsAWiderType) {
  const std::string up = "model.layers.0.mlp.up_proj.weight", embedding = "model.embed_tokens.weight";
  EXPECT_EQ(written_types(*with_number(up, 65519), "f16").at(up), DType::f16);
  auto types = written_types(*with_number(up, -65520), "f16");
  EXPECT_EQ(types.at(up), DType::f32);
  EXPECT_EQ(types.at(embedding), DType::f16);
  EXPECT_EQ(written_types(*with_number(up, 1e6f, DType::bf16), "f16").at(up), DType::bf16);
  // A folder's config names one type for all that is no block.
  EXPECT_EQ(written_types(*with_number(embedding, 3), "int8").at(embedding), DType::f16);
  types = written_types(*with_number(embedding, 1e6f, DType::bf16), "int8");
  EXPECT_EQ(types.at(embedding), DType::bf16);
  EXPECT_EQ(types.at("model.norm.weight"), DType::bf16);
  types = written_types(*with_number("model.norm.weight", 1e6f), "int8");
  EXPECT_EQ(types.at(embedding), DType::f32);
  EXPECT_EQ(types.at(up), DType::q8_0);
}

std::string dat_file(const std::string& folder, const std::string& name, const std::vector<float>& values) {
  std::string bytes;
  const auto number = [&](int32_t v) { bytes.append(reinterpret_cast<const char*>(&v), 4); };
  number(1), number(static_cast<int32_t>(name.size()));
  bytes += name;
  number(5), number(static_cast<int32_t>(values.size()));
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  std::ofstream(folder + "/imatrix.dat", std::ios::binary) << bytes;
  return folder + "/imatrix.dat";
}

TEST(Imatrix, ReadsTheOlderFormAndRefusesBrokenFiles) {
  const auto checkpoint = model_checkpoint(llama_config(1));
  TemporaryFolder folder;
  std::vector<float> values(512, 2.0f);
  values[3] = 0;
  const Importances read = read_imatrix(dat_file(folder.path(), "blk.0.ffn_down.weight", values), *checkpoint);
  ASSERT_EQ(read.size(), 1U);
  EXPECT_NEAR(read.at("model.layers.0.mlp.down_proj")[0], 1.0f, 0.01f);
  EXPECT_GT(read.at("model.layers.0.mlp.down_proj")[3], 0.0f);
  EXPECT_THROW(read_imatrix(dat_file(folder.path(), "blk.7.ffn_down.weight", values), *checkpoint), Error);
  EXPECT_THROW(read_imatrix(dat_file(folder.path(), "blk.0.ffn_up.weight", values), *checkpoint), Error);
  values[0] = -1;
  EXPECT_THROW(read_imatrix(dat_file(folder.path(), "blk.0.ffn_down.weight", values), *checkpoint), Error);
  values[0] = 1;
  const std::string path = dat_file(folder.path(), "blk.0.ffn_down.weight", values);
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  for (size_t n = 0; n < bytes.size(); n += n < 40 ? 1 : 97) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, n);
    EXPECT_THROW(read_imatrix(path, *checkpoint), Error) << n;
  }
  const auto message = [&](const std::string& contents) {
    std::ofstream(path, std::ios::binary) << contents;
    try {
      read_imatrix(path, *checkpoint);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const std::string tail("\5\0\0\0\3\0\0\0a.t", 11);  // calls of all, and the text's name
  EXPECT_EQ(message(bytes + tail), "");
  EXPECT_NE(message(bytes + tail + "x").find("more in it"), std::string::npos);
  EXPECT_NE(message(bytes + "junk").find("truncated"), std::string::npos);
  EXPECT_NE(message("the cat sat on the mat").find("no imatrix"), std::string::npos);
  dat_file(folder.path(), "blk.0.ffn_down.weight", std::vector<float>(512, 0.0f));
  std::ifstream in(path, std::ios::binary);
  EXPECT_NE(message(std::string(std::istreambuf_iterator<char>(in), {})).find("sums are zero"), std::string::npos);
}

}  // namespace
}  // namespace caravan::quant
