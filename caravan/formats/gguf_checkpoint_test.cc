// The Hugging Face view of GGUF files made here, and the semantic malformed classes G38 ... G41.
#include "caravan/formats/gguf_checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "caravan/base/error.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/gguf_encode.h"
#include "caravan/formats/gguf_rotary.h"

namespace caravan::formats {
namespace {

using Shape = std::vector<int64_t>;
using Fields = std::vector<std::pair<std::string, GgufValue>>;

constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 8, kWidth = 32;

struct TestTensor {
  std::string name;
  Shape shape;
  std::vector<float> values;  // empty: element i is i
};

struct TestModel {
  Fields fields;
  std::vector<TestTensor> tensors;

  TestModel& set(const std::string& key, const GgufValue& value) {
    for (auto& [name, old] : fields) {
      if (name == key) return old = value, *this;
    }
    fields.emplace_back(key, value);
    return *this;
  }
  TestModel& drop(const std::string& key) {
    std::erase_if(fields, [&](const auto& f) { return f.first == key; });
    return *this;
  }
  std::string bytes() const {
    GgufEncoder out;
    out.header(3, tensors.size(), fields.size());
    for (const auto& [key, value] : fields) out.field(key, value);
    std::string data;
    for (const TestTensor& t : tensors) {
      out.tensor_info(t.name, t.shape, 0, data.size());
      int64_t n = 1;
      for (int64_t d : t.shape) n *= d;
      GgufEncoder values;
      for (int64_t i = 0; i < n; ++i)
        values.number(t.values.empty() ? static_cast<float>(i) : t.values[static_cast<size_t>(i)]);
      data += values.pad(32).bytes();
    }
    return out.pad(32).bytes() + data;
  }
};

TestModel tiny(const std::string& arch = "llama") {
  TestModel m;
  m.set("general.architecture", arch).set("general.name", "tiny").set(arch + ".block_count", uint32_t{1});
  m.set(arch + ".context_length", uint32_t{128}).set(arch + ".embedding_length", uint32_t{kWidth});
  m.set(arch + ".feed_forward_length", uint32_t{64}).set(arch + ".attention.head_count", uint32_t{kHeads});
  m.set(arch + ".attention.head_count_kv", uint32_t{kKvHeads}).set(arch + ".attention.layer_norm_rms_epsilon", 0.5f);
  m.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.tokens", std::vector<std::string>{"<s>", "</s>", "a", "b"});
  m.set("tokenizer.ggml.token_type", std::vector<int32_t>{3, 3, 1, 1}).set("tokenizer.ggml.bos_token_id", uint32_t{0});
  m.set("tokenizer.ggml.eos_token_id", uint32_t{1}).set("tokenizer.ggml.merges", std::vector<std::string>{});
  m.tensors = {{"token_embd.weight", {4, kWidth}},
               {"blk.0.attn_norm.weight", {kWidth}},
               {"blk.0.attn_q.weight", {kHeads * kHeadDim, kWidth}},
               {"blk.0.attn_k.weight", {kKvHeads * kHeadDim, kWidth}},
               {"blk.0.attn_v.weight", {kKvHeads * kHeadDim, kWidth}},
               {"blk.0.attn_output.weight", {kWidth, kHeads * kHeadDim}},
               {"blk.0.ffn_norm.weight", {kWidth}},
               {"blk.0.ffn_gate.weight", {64, kWidth}},
               {"blk.0.ffn_up.weight", {64, kWidth}},
               {"blk.0.ffn_down.weight", {kWidth, 64}},
               {"output_norm.weight", {kWidth}}};
  return m;
}

class GgufCheckpointTest : public ::testing::Test {
 protected:
  std::unique_ptr<Checkpoint> open(const TestModel& model) {
    const std::string path = folder_ / "model.gguf";
    write_file(path, model.bytes());
    return Checkpoint::open(path);
  }
  std::string fault(const TestModel& model) {
    try {
      open(model);
    } catch (const Error& e) {
      return std::string(to_string(e.fault()));
    }
    return "none";
  }
  TemporaryFolder folder_;
};

std::vector<float> floats(const TensorBytes& t) {
  std::vector<float> values(t.bytes.size() / 4);
  std::memcpy(values.data(), t.bytes.data(), t.bytes.size());
  return values;
}

TEST_F(GgufCheckpointTest, PresentsHuggingFaceNamesShapesAndConfig) {
  const auto checkpoint = open(tiny());
  EXPECT_EQ(checkpoint->format(), "gguf");
  std::vector<std::string> names;
  for (const TensorInfo& t : checkpoint->tensors()) names.push_back(t.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
                "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
                "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight",
                "model.layers.0.post_attention_layernorm.weight", "model.layers.0.mlp.gate_proj.weight",
                "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight", "model.norm.weight"}));
  EXPECT_EQ(checkpoint->find("model.layers.0.mlp.gate_proj.weight")->shape, (Shape{64, kWidth}));
  const Json expected = parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "_name_or_path": "tiny", "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
      "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
      "rms_norm_eps": 0.5, "rope_theta": 10000.0, "tie_word_embeddings": true, "attention_bias": false,
      "mlp_bias": false, "torch_dtype": "float32", "vocab_size": 4, "bos_token_id": 0, "eos_token_id": 1})",
                                   "expected");
  EXPECT_EQ(dump_json(checkpoint->config()), dump_json(expected));
  EXPECT_NE(gguf_file(*checkpoint), nullptr);
  EXPECT_THROW(checkpoint->read("model.layers.1.mlp.up_proj.weight"), Error);
}

// llama.cpp's convert: reshape(heads, 2, D/2, C).swapaxes(1, 2); the view undoes it.
TEST_F(GgufCheckpointTest, QueryAndKeyRowsTakeHuggingFacesOrder) {
  const auto checkpoint = open(tiny());
  for (const char* name : {"q", "k"}) {
    const std::vector<float> w = floats(checkpoint->read(fmt::format("model.layers.0.self_attn.{}_proj.weight", name)));
    const int64_t rows = static_cast<int64_t>(w.size()) / kWidth;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t head = row / kHeadDim, j = row % kHeadDim / (kHeadDim / 2), i = row % (kHeadDim / 2);
      const int64_t stored = head * kHeadDim + 2 * i + j;
      EXPECT_EQ(w[static_cast<size_t>(row * kWidth)], static_cast<float>(stored * kWidth)) << name << " row " << row;
    }
  }
  const std::vector<float> v = floats(checkpoint->read("model.layers.0.self_attn.v_proj.weight"));
  EXPECT_EQ(v[kWidth], static_cast<float>(kWidth));
}

TEST_F(GgufCheckpointTest, QwenRowsStayAndItsBiasesAreMapped) {
  TestModel m = tiny("qwen2");
  m.tensors.push_back({"blk.0.attn_q.bias", {kHeads * kHeadDim}});
  const auto checkpoint = open(m);
  EXPECT_EQ(checkpoint->config()["model_type"], "qwen2");
  const std::vector<float> q = floats(checkpoint->read("model.layers.0.self_attn.q_proj.weight"));
  EXPECT_EQ(q[kWidth], static_cast<float>(kWidth));
  EXPECT_EQ(floats(checkpoint->read("model.layers.0.self_attn.q_proj.bias"))[1], 1.0f);
}

TEST_F(GgufCheckpointTest, AFusedProjectionIsSplitAndReordered) {
  TestModel m = tiny();
  std::erase_if(m.tensors, [](const TestTensor& t) { return t.name.find("attn_k") + 1 || t.name.find("attn_v") + 1; });
  m.tensors[2] = {"blk.0.attn_qkv.weight", {(kHeads + 2 * kKvHeads) * kHeadDim, kWidth}};
  const auto checkpoint = open(m);
  const std::vector<float> k = floats(checkpoint->read("model.layers.0.self_attn.k_proj.weight"));
  EXPECT_EQ(k.size(), static_cast<size_t>(kKvHeads * kHeadDim * kWidth));
  EXPECT_EQ(k[kWidth], static_cast<float>((kHeads * kHeadDim + 2) * kWidth));  // row 1 was stored as row 2
  EXPECT_EQ(floats(checkpoint->read("model.layers.0.self_attn.v_proj.weight"))[0],
            static_cast<float>((kHeads + kKvHeads) * kHeadDim * kWidth));
  m.tensors[2].shape[0] -= 1;
  EXPECT_EQ(fault(m), "layout");
}

TEST_F(GgufCheckpointTest, BiasesUntiedHeadAndWindowShowInTheConfig) {
  TestModel m = tiny();
  m.tensors.push_back({"output.weight", {4, kWidth}});
  m.tensors.push_back({"blk.0.attn_q.bias", {kHeads * kHeadDim}});
  m.tensors.push_back({"blk.0.ffn_up.bias", {64}});
  m.set("llama.attention.sliding_window", uint32_t{16});
  const auto checkpoint = open(m);
  EXPECT_EQ(checkpoint->config()["tie_word_embeddings"], false);
  EXPECT_EQ(checkpoint->config()["attention_bias"], true);
  EXPECT_EQ(checkpoint->config()["mlp_bias"], true);
  EXPECT_EQ(checkpoint->config()["model_type"], "mistral");
  EXPECT_EQ(checkpoint->config()["sliding_window"], 16);
  EXPECT_EQ(floats(checkpoint->read("model.layers.0.self_attn.q_proj.bias"))[1], 2.0f);
}

TEST_F(GgufCheckpointTest, ScalingsOfTheMetadataBecomeRopeScaling) {
  TestModel linear = tiny().set("llama.rope.scaling.type", "linear").set("llama.rope.scaling.factor", 4.0f);
  EXPECT_EQ(open(linear)->config()["rope_scaling"].dump(), R"({"rope_type":"linear","factor":4.0})");
  EXPECT_EQ(open(tiny().set("llama.rope.scale_linear", 2.0f))->config()["rope_scaling"]["factor"], 2.0);
  TestModel yarn = tiny().set("llama.rope.scaling.type", "yarn").set("llama.rope.scaling.factor", 4.0f);
  yarn.set("llama.rope.scaling.original_context_length", uint32_t{32});
  EXPECT_EQ(open(yarn)->config()["rope_scaling"].dump(),
            R"({"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32})");
  EXPECT_EQ(fault(tiny().set("llama.rope.scaling.type", "wave")), "unsupported");
  EXPECT_EQ(fault(tiny().set("llama.rope.scaling.type", "longrope")), "layout");  // its factors are missing
  TestModel longrope = tiny().set("llama.rope.scaling.type", "longrope");
  longrope.tensors.push_back({"rope_factors_short.weight", {4}, {1, 1, 1, 1}});
  longrope.tensors.push_back({"rope_factors_long.weight", {4}, {1, 2, 3, 4}});
  EXPECT_EQ(open(longrope)->config()["rope_scaling"]["long_factor"].dump(), "[1.0,2.0,3.0,4.0]");
  EXPECT_EQ(open(longrope)->find("rope_factors_long.weight"), nullptr);
}

TEST_F(GgufCheckpointTest, FactorsOfLlama3ScalingAreRecognized) {
  const Llama3Scaling scalings[] = {
      {8, 1, 4, 8192}, {32, 1, 4, 8192}, {4, 1, 4, 64}, {16, 1, 3, 1000}, {2.5, 2, 5, 300}};
  for (const Llama3Scaling& s : scalings) {
    for (double theta : {10000.0, 500000.0}) {
      const std::vector<float> factors = llama3_frequency_factors(s, theta, 64);
      const auto found = find_llama3_scaling(factors, theta, 0);
      ASSERT_TRUE(found.has_value()) << s.factor << " " << theta;
      const std::vector<float> again = llama3_frequency_factors(*found, theta, 64);
      for (size_t i = 0; i < factors.size(); ++i) EXPECT_NEAR(again[i], factors[i], 1e-5 * factors[i]);
    }
  }
  const auto odd = find_llama3_scaling(llama3_frequency_factors({16, 1, 3, 1000}, 10000, 64), 10000, 0);
  EXPECT_EQ(odd->low_freq_factor, 1);
  EXPECT_EQ(odd->high_freq_factor, 3);
  EXPECT_EQ(odd->original_max_position_embeddings, 1000);
  const auto usual = find_llama3_scaling(llama3_frequency_factors({}, 500000, 32), 500000, 0);
  EXPECT_EQ(usual->factor, 8);
  EXPECT_EQ(usual->original_max_position_embeddings, 8192);
  EXPECT_EQ(usual->high_freq_factor, 4);
}

TEST_F(GgufCheckpointTest, FrequencyFactorsAreAScalingNotAParameter) {
  TestModel m = tiny();
  m.tensors.push_back({"rope_freqs.weight", {4}, llama3_frequency_factors({8, 1, 4, 64}, 10000, 4)});
  const auto checkpoint = open(m);
  EXPECT_EQ(checkpoint->find("rope_freqs.weight"), nullptr);
  EXPECT_EQ(checkpoint->config()["rope_scaling"]["rope_type"], "llama3");
  EXPECT_EQ(checkpoint->config()["rope_scaling"]["original_max_position_embeddings"], 64);

  m.tensors.back().values = {1, 5, 2, 7};  // no llama3 scaling: the same frequencies, told as longrope
  const Json scaling = open(m)->config()["rope_scaling"];
  EXPECT_EQ(scaling["rope_type"], "longrope");
  EXPECT_EQ(scaling["short_factor"].dump(), "[1.0,5.0,2.0,7.0]");
  EXPECT_EQ(scaling["attention_factor"], 1.0);

  m.tensors.back().values = {1, 1, 1, 1};
  EXPECT_FALSE(open(m)->config().contains("rope_scaling"));
  m.tensors.back().values = {1, 0, 1, 1};
  EXPECT_EQ(fault(m), "range");
  m.tensors.back() = {"rope_freqs.weight", {5}};
  EXPECT_EQ(fault(m), "layout");
}

TEST_F(GgufCheckpointTest, SideFilesComeFromTheMetadata) {
  TestModel m = tiny().set("tokenizer.ggml.eot_token_id", uint32_t{2}).set("tokenizer.chat_template", "{{ x }}");
  m.set("tokenizer.ggml.add_bos_token", true);
  write_file(folder_ / "tokenizer.json", "{}");
  const auto checkpoint = open(m);
  EXPECT_EQ(parse_json(checkpoint->side_file("generation_config.json"), "x").dump(),
            R"({"bos_token_id":0,"eos_token_id":[1,2]})");
  EXPECT_EQ(parse_json(checkpoint->side_file("tokenizer_config.json"), "x").dump(),
            R"({"add_bos_token":true,"bos_token":"<s>","eos_token":"</s>","chat_template":"{{ x }}"})");
  EXPECT_EQ(checkpoint->side_file("chat_template.jinja"), "{{ x }}");
  EXPECT_EQ(checkpoint->side_file("tokenizer.json"), "");  // a stranger's: the file has its own vocabulary
  EXPECT_EQ(Checkpoint::open(folder_.path())->side_file("tokenizer.json"), "{}");
}

TEST_F(GgufCheckpointTest, VocabulariesAndUnknownArchitecturesOpen) {
  TestModel vocabulary = tiny();
  vocabulary.tensors.clear();
  EXPECT_EQ(open(vocabulary)->config()["vocab_size"], 4);
  TestModel bert;
  bert.set("general.architecture", "bert").set("tokenizer.ggml.tokens", std::vector<std::string>{"a"});
  EXPECT_EQ(open(bert)->config()["model_type"], "bert");
  bert.tensors.push_back({"token_types.weight", {2, 2}});
  EXPECT_NE(open(bert)->find("token_types.weight"), nullptr);
}

TEST_F(GgufCheckpointTest, EveryMalformedMeaningGivesItsFault) {
  const std::string ggml = "tokenizer.ggml.", llama = "llama.";
  const auto with = [&](const std::string& key, const GgufValue& value) { return fault(tiny().set(key, value)); };
  EXPECT_EQ(with(ggml + "scores", std::vector<int32_t>{0, 0, 0, 0}), "type") << "G38";
  EXPECT_EQ(with(ggml + "token_type", std::vector<std::string>{"a", "b", "c", "d"}), "type") << "G39";
  EXPECT_EQ(with(ggml + "tokens", "abc"), "type");
  EXPECT_EQ(with(ggml + "merges", std::vector<int32_t>{1}), "type");
  EXPECT_EQ(with(llama + "block_count", uint32_t{1} << 31), "range") << "G40";
  EXPECT_EQ(with(llama + "attention.head_count", uint32_t{0}), "range") << "G40";
  EXPECT_EQ(with(llama + "attention.head_count_kv", uint32_t{8}), "range") << "G40";
  EXPECT_EQ(with(llama + "attention.head_count_kv", uint32_t{3}), "range") << "G40";
  EXPECT_EQ(with(llama + "rope.dimension_count", uint32_t{5}), "range") << "G40";
  EXPECT_EQ(with(llama + "rope.dimension_count", uint32_t{10}), "range") << "G40";
  EXPECT_EQ(with(llama + "rope.dimension_count", uint32_t{4}), "range") << "a part of a head";
  EXPECT_EQ(fault(tiny().drop(ggml + "merges")), "layout");
  EXPECT_EQ(fault(tiny().drop(ggml + "merges").set(ggml + "model", "bert")), "none");
  EXPECT_EQ(with(llama + "attention.head_count", "four"), "type");
  EXPECT_EQ(with(llama + "attention.head_count", std::vector<int32_t>{4, 2}), "unsupported");
  EXPECT_EQ(with(llama + "attention.head_count", std::vector<int32_t>{4, 4}), "none");
  EXPECT_EQ(with(llama + "attention.layer_norm_rms_epsilon", std::nanf("")), "range");
  EXPECT_EQ(with(ggml + "scores", std::vector<float>{0, 0, 0}), "range") << "G41";
  EXPECT_EQ(with(ggml + "token_type", std::vector<int32_t>{1}), "range") << "G41";
  EXPECT_EQ(with(ggml + "bos_token_id", uint32_t{4}), "range") << "G41";
  EXPECT_EQ(with(ggml + "eos_token_id", int32_t{-1}), "range") << "G41";
  EXPECT_EQ(with(ggml + "tokens", std::vector<std::string>(5, "x")), "range") << "more tokens than rows";
  EXPECT_EQ(fault(tiny().drop("general.architecture")), "range");
  EXPECT_EQ(fault(tiny().drop("llama.embedding_length")), "range");
  TestModel odd = tiny();
  odd.tensors[2].shape[0] -= 4;
  EXPECT_EQ(fault(odd), "layout");
  TestModel twice = tiny();
  twice.tensors.push_back({"model.norm.weight", {kWidth}});
  EXPECT_EQ(fault(twice), "duplicate");
}

}  // namespace
}  // namespace caravan::formats
