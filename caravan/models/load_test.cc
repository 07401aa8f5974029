#include "caravan/models/load.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/writer.h"

namespace caravan::models {
namespace {

class LoadTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = (std::filesystem::temp_directory_path() / fmt::format("caravan-load-{}", getpid())).string();
    config = find_family("llama").tiny_config();
    model = std::make_unique<CausalLm>(config);
    nn::initialize(*model, {.std = 0.2, .seed = 1});
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  // Writes the model's tensors as `change` leaves them: name -> tensor.
  void write(const std::function<void(std::map<std::string, Tensor>&)>& change, const Json& written_config) {
    std::map<std::string, Tensor> tensors;
    for (const auto& p : model->named_parameters()) tensors[p.name] = p.parameter->value;
    change(tensors);
    std::vector<formats::TensorInfo> plan;
    for (const auto& [name, t] : tensors)
      plan.push_back({.name = name, .dtype = to_dtype(t.scalar_type()), .shape = t.sizes().vec()});
    auto writer = formats::CheckpointWriter::create(folder, plan, written_config, {});
    for (auto& [name, t] : tensors) {
      const Tensor c = t.contiguous();
      writer->write(name, {static_cast<const std::byte*>(c.const_data_ptr()), c.nbytes()});
    }
    writer->finish();
  }

  std::string folder;
  Json config;
  std::unique_ptr<CausalLm> model;
};

TEST_F(LoadTest, MissingUnexpectedAndMisshapedTensorsAreListedTogether) {
  write(
      [](auto& t) {
        t.erase("model.layers.0.mlp.up_proj.weight");
        t["model.layers.7.extra"] = at::ones({2});
        t["model.norm.weight"] = at::ones({31});
        t["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({4});
      },
      config);
  try {
    load_causal_lm(folder);
    FAIL() << "no error";
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_EQ(e.code(), ErrorCode::corrupt_file);
    EXPECT_NE(what.find("model.layers.0.mlp.up_proj.weight [56, 32]"), std::string::npos) << what;
    EXPECT_NE(what.find("model.layers.7.extra [2]"), std::string::npos) << what;
    EXPECT_NE(what.find("model.norm.weight: [31] in the file, [32] by the config"), std::string::npos) << what;
    EXPECT_EQ(what.find("inv_freq"), std::string::npos) << what;
  }
}

TEST_F(LoadTest, FusedProjectionsAreSplit) {
  write(
      [](auto& t) {
        for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
          const auto fuse = [&](const std::string& to, const std::vector<std::string>& from) {
            std::vector<Tensor> parts;
            for (const auto& name : from) {
              parts.push_back(t.at(layer + name));
              t.erase(layer + name);
            }
            t[layer + to] = at::cat(parts);
          };
          fuse("self_attn.qkv_proj.weight",
               {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"});
          fuse("mlp.gate_up_proj.weight", {"mlp.gate_proj.weight", "mlp.up_proj.weight"});
        }
      },
      config);
  const auto loaded = load_causal_lm(folder);
  const auto a = model->named_parameters(), b = loaded->named_parameters();
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(at::equal(a[i].parameter->value, b[i].parameter->value)) << a[i].name;
}

// Rows that add up are not enough: rows of another width are shorter or longer in the file than the model's.
TEST_F(LoadTest, FusedProjectionsOfAnotherWidthAreRefused) {
  for (const int64_t width : {1, 31, 33}) {
    write(
        [width](auto& t) {
          for (const std::string part : {"gate_proj", "up_proj"}) t.erase("model.layers.1.mlp." + part + ".weight");
          t["model.layers.1.mlp.gate_up_proj.weight"] = at::ones({112, width});
        },
        config);
    try {
      load_causal_lm(folder);
      FAIL() << "no error at width " << width;
    } catch (const Error& e) {
      const std::string wanted =
          fmt::format("model.layers.1.mlp.up_proj.weight: [56, {}] in the file, [56, 32] by the config", width);
      EXPECT_NE(std::string(e.what()).find(wanted), std::string::npos) << e.what();
    }
  }
}

TEST_F(LoadTest, ATiedHeadMayBePresentOrAbsent) {
  config["tie_word_embeddings"] = true;
  const std::string head = "lm_head.weight", embedding = "model.embed_tokens.weight";
  const auto load = [&](const std::function<void(std::map<std::string, Tensor>&)>& change) {
    std::filesystem::remove_all(folder);
    write(change, config);
    return load_causal_lm(folder);
  };
  EXPECT_TRUE(load([&](auto& t) { t.erase(head); })->tied());
  EXPECT_TRUE(load([&](auto& t) { t[head] = t[embedding]; })->tied());
  // The one copy may have the head's name.
  const auto named = load([&](auto& t) {
    t[head] = t[embedding];
    t.erase(embedding);
  });
  EXPECT_TRUE(named->tied());
  EXPECT_TRUE(at::equal(named->output_weight(), model->backbone().input_embedding().weight.value));
  // Another head than the embeddings: the config is wrong, as transformers 5 sees it.
  const auto untied = load([](auto&) {});
  EXPECT_FALSE(untied->tied());
  EXPECT_TRUE(at::equal(untied->output_weight(), model->output_weight()));
  EXPECT_THROW(load([&](auto& t) { t[head] = at::ones({3, 32}); }), Error);

  config["tie_word_embeddings"] = false;
  EXPECT_THROW(load([&](auto& t) { t.erase(head); }), Error);
}

// What transformers' AutoModel saves: the backbone's tensors without "model.", no head.
void strip_to_backbone(std::map<std::string, Tensor>& tensors) {
  std::map<std::string, Tensor> bare;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with("model.")) bare[name.substr(6)] = tensor;
  }
  tensors = std::move(bare);
}

TEST_F(LoadTest, ABackbonesCheckpointFitsHeadsAndHeadsFitTheBackbone) {
  const auto equal_backbones = [&](Head& loaded) {
    const auto a = model->backbone().named_parameters(), b = loaded.backbone().named_parameters();
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(at::equal(a[i].parameter->value, b[i].parameter->value)) << a[i].name;
    }
  };
  config["architectures"] = {"LlamaModel"};
  write(strip_to_backbone, config);
  const auto backbone = load_head(*formats::Checkpoint::open(folder));
  EXPECT_EQ(backbone->architecture(), "LlamaModel");
  EXPECT_EQ(backbone->named_parameters()[0].name, "embed_tokens.weight");
  equal_backbones(*backbone);
  EXPECT_THROW(load_causal_lm(folder), Error);  // its head is missing: a sentence from random weights helps nobody

  QuestionAnswerer answerer(config);
  const LoadReport report =
      load_parameters(answerer, *formats::Checkpoint::open(folder), {.dtype = at::kBFloat16, .change_head = true});
  EXPECT_EQ(report.initialized, (std::vector<std::string>{"qa_outputs.weight", "qa_outputs.bias"}));
  for (const auto& p : answerer.named_parameters()) EXPECT_EQ(p.parameter->value.scalar_type(), at::kBFloat16);

  std::filesystem::remove_all(folder);
  config.erase("architectures");
  write([](auto&) {}, config);
  Backbone bare(config);
  EXPECT_EQ(load_parameters(bare, *formats::Checkpoint::open(folder), {.change_head = true}).left_out,
            (std::vector<std::string>{"lm_head.weight"}));
  equal_backbones(bare);
  QuestionAnswerer other(config);  // "model." in the file, "transformer." in the model
  const LoadReport both = load_parameters(other, *formats::Checkpoint::open(folder), {.change_head = true});
  EXPECT_EQ(both.left_out.size(), 1u);
  EXPECT_EQ(both.initialized.size(), 2u);
  equal_backbones(other);
}

TEST_F(LoadTest, ChangingTheHeadForgivesNothingElse) {
  write(
      [](auto& t) {
        strip_to_backbone(t);
        t.erase("norm.weight");
        t["layers.9.mlp.up_proj.weight"] = at::ones({2});
      },
      config);
  try {
    SequenceClassifier classifier(config);
    load_parameters(classifier, *formats::Checkpoint::open(folder), {.change_head = true});
    FAIL() << "no error";
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_NE(what.find("model.norm.weight [32]"), std::string::npos) << what;
    EXPECT_NE(what.find("model.layers.9.mlp.up_proj.weight [2]"), std::string::npos) << what;
    EXPECT_EQ(what.find("score"), std::string::npos) << what;
  }
}

TEST_F(LoadTest, UnknownConfigKeysSurviveARoundTrip) {
  config["my_own_key"] = {{"nested", {1, 2, 3}}};
  config["dtype"] = "float32";
  write([](auto&) {}, config);
  auto loaded = load_causal_lm(folder);
  save_model(*loaded, folder + "-again");
  const Json again = parse_json(read_file(folder + "-again/config.json"), "config.json");
  EXPECT_EQ(again["my_own_key"], config["my_own_key"]);
  EXPECT_EQ(again["dtype"], "float32");
  std::filesystem::remove_all(folder + "-again");
}

TEST_F(LoadTest, DtypesAreConvertedOnRequest) {
  write(
      [](auto& t) {
        for (auto& [name, x] : t) x = x.to(at::kBFloat16);
      },
      config);
  EXPECT_EQ(load_causal_lm(folder)->parameters()[0].scalar_type(), at::kBFloat16);
  EXPECT_EQ(load_causal_lm(folder, {.dtype = at::kFloat})->parameters()[0].scalar_type(), at::kFloat);
}

TEST_F(LoadTest, TensorsOfSeveralTypesAreLoadedInOne) {
  const auto narrow = [](auto& t) {  // as llama.cpp writes f16 files: norms stay f32
    for (auto& [name, x] : t) x = x.to(x.dim() > 1 ? at::kHalf : at::kFloat);
  };
  for (const char* wanted : {"bfloat16", "float32", ""}) {
    config["dtype"] = wanted;
    write(narrow, config);
    const auto loaded = load_causal_lm(folder);
    const auto type = std::string(wanted) == "bfloat16"  ? at::kBFloat16
                      : std::string(wanted) == "float32" ? at::kFloat
                                                         : at::kHalf;  // none named: what most numbers have
    for (const Tensor& p : loaded->parameters()) EXPECT_EQ(p.scalar_type(), type) << wanted;
    nn::Step step = nn::Step::packed(std::vector<int64_t>{2});
    const torch::NoGradGuard guard;
    const Tensor logits = loaded->forward(at::tensor(std::vector<int64_t>{1, 2}, at::kLong), step);
    EXPECT_TRUE(at::isfinite(logits).all().item<bool>()) << wanted;
    std::filesystem::remove_all(folder);
  }
}

TEST_F(LoadTest, HalvesThatAreKeptComputeInFp32) {
  struct Case {
    at::ScalarType stored;
    DType dtype;
    double tolerance;  // bf16 weights meet inputs rounded to bf16
  };
  for (const auto& [stored, dtype, tolerance] :
       {Case{at::kHalf, DType::f16, 1e-5}, Case{at::kBFloat16, DType::bf16, 2e-2}}) {
    write(
        [stored = stored](auto& t) {
          for (auto& [name, x] : t) x = x.to(stored);
        },
        config);
    const auto dense = load_causal_lm(folder, {.dtype = at::kFloat}),
               kept = load_causal_lm(folder, {.keep_blocks = true});
    for (const nn::NamedParameter& p : kept->named_parameters()) {
      const bool matrix = p.parameter->shape.size() == 2;
      EXPECT_EQ(p.parameter->dtype, matrix ? dtype : DType::f32) << p.name;
      EXPECT_EQ(p.parameter->packed.defined(), matrix) << p.name;
    }
    const torch::NoGradGuard guard;
    for (const int64_t tokens : {1, 3, 40}) {
      const Tensor ids = at::arange(1, tokens + 1, at::kLong);
      nn::Step step = nn::Step::packed(std::vector<int64_t>{tokens});
      nn::Step same = nn::Step::packed(std::vector<int64_t>{tokens});
      const Tensor expected = dense->forward(ids, step), logits = kept->forward(ids, same);
      EXPECT_EQ(logits.scalar_type(), at::kFloat);
      EXPECT_LT((expected - logits).abs().max().item<double>(), tolerance * expected.abs().max().item<double>())
          << tokens;
    }
    // What asks for a type gets dense weights of it.
    const auto asked = load_causal_lm(folder, {.dtype = stored, .keep_blocks = true});
    EXPECT_EQ(asked->parameters()[0].scalar_type(), stored);
    std::filesystem::remove_all(folder);
  }
}

// Starts of one file with repacked weights kept in a folder; `made` is what a start without has.
class CachedStarts {
 public:
  CachedStarts(std::string file, CausalLm& made) : file_(std::move(file)), made_(made) {}
  void expect_the_same(const std::string& folder) {
    const auto loaded = load_causal_lm(
        file_, {.keep_blocks = true, .packed_cache = folder, .warn = [&](auto& line) { warnings.push_back(line); }});
    const auto a = made_.named_parameters(), b = loaded->named_parameters();
    for (size_t i = 0; i < a.size(); ++i) {
      const Tensor &x = a[i].parameter->packed, &y = b[i].parameter->packed;
      ASSERT_EQ(x.defined(), y.defined()) << a[i].name;
      if (x.defined()) EXPECT_TRUE(at::equal(x, y)) << a[i].name;
    }
  }
  std::vector<std::string> warnings;

 private:
  std::string file_;
  CausalLm& made_;
};

// Repacked weights that an earlier start left on disk are those that would be made.
void expect_the_same_from_a_cache(const std::string& file, CausalLm& made) {
  const TemporaryFolder cache;
  CachedStarts starts(file, made);
  starts.expect_the_same(cache.path());
  const std::string entry = cache / list_folder(cache.path())->at(0);
  const auto stored_at = [&] { return std::filesystem::last_write_time(entry + "/model.safetensors"); };
  const auto first = stored_at();
  starts.expect_the_same(cache.path());
  EXPECT_EQ(stored_at(), first);  // read, not made again
  const auto later = std::filesystem::last_write_time(file) + std::chrono::seconds(2);
  std::filesystem::last_write_time(file, later);  // as if it were another file
  starts.expect_the_same(cache.path());
  const auto second = stored_at();
  EXPECT_NE(second, first);
  const std::string bytes = read_file(file);
  std::ofstream(file, std::ios::binary | std::ios::in | std::ios::out) << bytes;  // in place, as many bytes
  std::filesystem::last_write_time(file, later);                                  // and the time put back
  starts.expect_the_same(cache.path());
  EXPECT_NE(stored_at(), second);
  EXPECT_EQ(list_folder(cache.path())->size(), 1u);
  EXPECT_TRUE(starts.warnings.empty());
}

// A damaged entry is made anew, and says so once.
void expect_a_cache_to_be_mended(const std::string& file, CausalLm& made) {
  const TemporaryFolder cache;
  CachedStarts starts(file, made);
  starts.expect_the_same(cache.path());
  const std::string entry = cache / list_folder(cache.path())->at(0), weights = entry + "/model.safetensors";
  const std::string intact = read_file(weights), config = read_file(entry + "/config.json");
  std::string flipped = intact, no_sums = config;
  flipped[flipped.size() - 9] ^= 4;
  no_sums.replace(no_sums.rfind("\"crc32c\""), 8, "\"crc32d\"");
  const std::vector<std::pair<std::string, std::string>> damages = {
      {weights, flipped}, {weights, intact.substr(0, intact.size() - 1)}, {weights, intact + "x"},
      {weights, ""},      {entry + "/config.json", config.substr(0, 40)}, {entry + "/config.json", no_sums}};
  for (const auto& [path, damaged] : damages) {
    write_file(path, damaged);
    starts.warnings.clear();
    starts.expect_the_same(cache.path());
    EXPECT_EQ(starts.warnings.size(), 1u) << path << " of " << damaged.size() << " bytes";
    EXPECT_EQ(read_file(weights), intact);
    starts.expect_the_same(cache.path());
    EXPECT_EQ(starts.warnings.size(), 1u);
  }
}

// Its folder is made; one that cannot be, and an entry that cannot be written, are no errors.
void expect_a_cache_to_be_optional(const std::string& file, CausalLm& made) {
  const TemporaryFolder folder;
  CachedStarts starts(file, made);
  const std::string cache = folder / "some/where";
  starts.expect_the_same(cache);
  ASSERT_EQ(list_folder(cache)->size(), 1u);
  EXPECT_TRUE(starts.warnings.empty());
  const std::string entry = cache + "/" + list_folder(cache)->at(0);
  starts.expect_the_same(entry + "/config.json/below");
  EXPECT_EQ(starts.warnings.size(), 1u);
  write_file(entry + "/notes.txt", "not ours");
  write_file(entry + "/model.safetensors", "");
  starts.expect_the_same(cache);
  EXPECT_EQ(starts.warnings.size(), 3u);  // damaged, and not replaced
  EXPECT_TRUE(file_exists(entry + "/notes.txt"));
}

class ClosedFolder final : public FileSystem {
 public:
  explicit ClosedFolder(std::string folder) : folder_(std::move(folder)) {}
  int open(const char* path, int flags, int mode) override {
    return std::string_view(path).starts_with(folder_) ? -EACCES : FileSystem::open(path, flags, mode);
  }

 private:
  std::string folder_;
};

// Nor is one that may not be read.
void expect_a_closed_cache_to_be_no_error(const std::string& file, CausalLm& made) {
  const TemporaryFolder folder;
  ClosedFolder closed(folder / "cache");
  const ScopedFileSystem scoped(closed);
  CachedStarts starts(file, made);
  starts.expect_the_same(folder / "cache");
  ASSERT_EQ(starts.warnings.size(), 1u);
  EXPECT_NE(starts.warnings[0].find("cannot be kept there"), std::string::npos) << starts.warnings[0];
}

// A model whose matrices are stored as Q8_0: each block's half is 2^-7, its integers are those of the values.
TEST_F(LoadTest, BlocksThatAreKeptGiveTheDenseModelsLogits) {
  config["hidden_size"] = 64;
  config["intermediate_size"] = 96;
  config["head_dim"] = 16;
  config["num_attention_heads"] = 4;
  config["num_key_value_heads"] = 2;
  config["hidden_act"] = "silu";
  model = std::make_unique<CausalLm>(config);
  nn::initialize(*model, {.std = 0.2, .seed = 1});
  std::map<std::string, std::vector<std::byte>> stored;
  std::vector<formats::TensorInfo> plan;
  for (const auto& p : model->named_parameters()) {
    const bool matrix = p.parameter->shape.size() == 2;
    plan.push_back({.name = p.name, .dtype = matrix ? DType::q8_0 : DType::f32, .shape = p.parameter->shape});
    const Tensor value = p.parameter->value.contiguous();
    const auto* floats = value.const_data_ptr<float>();
    std::vector<std::byte>& bytes = stored[p.name];
    for (int64_t i = 0; i < value.numel(); ++i) {
      if (matrix && i % 32 == 0) bytes.insert(bytes.end(), {std::byte{0x00}, std::byte{0x20}});  // 2^-7
      if (matrix) bytes.push_back(static_cast<std::byte>(static_cast<int8_t>(std::lround(floats[i] * 127))));
    }
    if (!matrix)
      bytes.assign(reinterpret_cast<const std::byte*>(floats),
                   reinterpret_cast<const std::byte*>(floats + value.numel()));
  }
  std::filesystem::create_directories(folder);
  const std::string file = folder + "/model.gguf";
  auto writer = formats::CheckpointWriter::create(file, plan, config, {.format = "gguf"});
  for (const formats::TensorInfo& t : plan) writer->write(t.name, stored.at(t.name));
  writer->finish();

  const auto dense = load_causal_lm(file), kept = load_causal_lm(file, {.keep_blocks = true});
  EXPECT_EQ(kept->backbone().input_embedding().weight.dtype, DType::q8_0);
  EXPECT_EQ(load_causal_lm(file, {.dtype = at::kFloat, .keep_blocks = true})->parameters()[0].scalar_type(),
            at::kFloat);
  expect_the_same_from_a_cache(file, *kept);
  expect_a_cache_to_be_mended(file, *kept);
  expect_a_cache_to_be_optional(file, *kept);
  expect_a_closed_cache_to_be_no_error(file, *kept);
  const torch::NoGradGuard guard;
  for (const int64_t tokens : {1, 3, 40}) {  // one input, a few, many
    const Tensor ids = at::arange(1, tokens + 1, at::kLong);
    nn::Step step = nn::Step::packed(std::vector<int64_t>{tokens});
    nn::Step same = nn::Step::packed(std::vector<int64_t>{tokens});
    const Tensor expected = dense->forward(ids, step), logits = kept->forward(ids, same);
    // Inputs of 16 bits: an error of some 1e-5 a product, which weights as large as these let grow (measured, on every
    // instruction set: 2.0e-4 of the largest logit for 40 tokens).
    EXPECT_LT((expected - logits).abs().max().item<float>(), 4e-4f * expected.abs().max().item<float>()) << tokens;
  }
  EXPECT_THROW(save_model(*kept, folder + "/saved"), Error);
}

TEST_F(LoadTest, EightBitFloatsAreWidenedAndIntegersRefused) {
  config.erase("dtype");
  write(
      [](auto& t) {
        for (auto& [name, x] : t) x = x.to(at::kFloat8_e4m3fn);
      },
      config);
  EXPECT_EQ(load_causal_lm(folder)->parameters()[0].scalar_type(), at::kBFloat16);
  std::filesystem::remove_all(folder);
  write([](auto& t) { t["model.norm.weight"] = t["model.norm.weight"].to(at::kLong); }, config);
  try {
    load_causal_lm(folder);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(e.what()).find("model.norm.weight"), std::string::npos) << e.what();
  }
}

struct BadConfig {
  std::string name, patch;  // a JSON object merged into the tiny config
  FileFault fault;
};

class BadConfigs : public testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigs, GetTheirError) {
  Json config = find_family("llama").tiny_config();
  config.merge_patch(Json::parse(GetParam().patch));
  try {
    CausalLm model(config);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), GetParam().fault) << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Classes, BadConfigs,
    testing::Values(
        BadConfig{"hidden_not_a_multiple", R"({"hidden_size": 34})", FileFault::range},
        BadConfig{"no_heads", R"({"num_attention_heads": 0})", FileFault::range},
        BadConfig{"more_kv_heads", R"({"num_key_value_heads": 8})", FileFault::range},
        BadConfig{"uneven_groups", R"({"num_key_value_heads": 3})", FileFault::range},
        BadConfig{"negative_layers", R"({"num_hidden_layers": -1})", FileFault::range},
        BadConfig{"million_layers", R"({"num_hidden_layers": 1000000})", FileFault::range},
        BadConfig{"huge_vocabulary", R"({"vocab_size": 2147483648})", FileFault::range},
        BadConfig{"rope_factor_zero", R"({"rope_scaling": {"type": "linear", "factor": 0}})", FileFault::range},
        BadConfig{"rope_factor_text", R"({"rope_scaling": {"type": "linear", "factor": "2"}})", FileFault::type},
        BadConfig{"rope_nested", R"({"rope_scaling": {"rope_scaling": {"type": "linear"}, "type": "odd"}})",
                  FileFault::unsupported},
        BadConfig{"longrope_short_list",
                  R"({"rope_scaling": {"type": "longrope", "factor": 2, "short_factor": [1], "long_factor": [1]}})",
                  FileFault::range},
        BadConfig{"unknown_family", R"({"model_type": "lama"})", FileFault::unsupported},
        BadConfig{"float_for_int", R"({"hidden_size": 32.5})", FileFault::type},
        BadConfig{"unknown_activation", R"({"hidden_act": "softplusish"})", FileFault::unsupported},
        BadConfig{"odd_head", R"({"head_dim": 7})", FileFault::range}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace caravan::models
