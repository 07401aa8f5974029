// NAME.weight becomes NAME.weight_packed, weight_scale and weight_shape (packed_layouts.h), in a safetensors folder.
#include "caravan/formats/packed_writer.h"

#include <cstring>

#include "caravan/base/error.h"
#include "caravan/formats/safetensors_writer.h"

namespace caravan::formats {
namespace {

constexpr int64_t kBlock = 32;
constexpr std::string_view kWeight = ".weight", kEmbedding = "embed_tokens.weight";

std::string layer_of(std::string_view tensor) { return std::string(tensor.substr(0, tensor.size() - kWeight.size())); }

Json quantization_config(int bits, const std::vector<std::string>& ignored) {
  const Json weights = {{"num_bits", bits},     {"type", "int"},
                        {"symmetric", true},    {"strategy", "group"},
                        {"group_size", kBlock}, {"dynamic", false},
                        {"actorder", nullptr},  {"block_structure", nullptr},
                        {"observer", "minmax"}, {"observer_kwargs", Json::object()}};
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups",
           {{"group_0",
             {{"targets", Json::array({"Linear"})},
              {"weights", weights},
              {"input_activations", nullptr},
              {"output_activations", nullptr}}}}},
          {"ignore", ignored},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr}};
}

// Blocks of one matrix taken apart.
struct Parts {
  std::vector<uint32_t> words;   // [rows, columns * bits / 32]
  std::vector<uint16_t> scales;  // [rows, columns / 32]
};

Parts take_apart(DType dtype, std::span<const std::byte> blocks) {
  const auto size = static_cast<size_t>(dtype_info(dtype).block_bytes);
  const size_t count = blocks.size() / size, words = dtype == DType::q4_0 ? 4 : 8;
  Parts parts{std::vector<uint32_t>(count * words), std::vector<uint16_t>(count)};
  for (size_t b = 0; b < count; ++b) {
    const auto* block = reinterpret_cast<const uint8_t*>(blocks.data()) + b * size;
    std::memcpy(&parts.scales[b], block, sizeof(uint16_t));
    for (size_t i = 0; i < kBlock; ++i) {
      const uint8_t level = dtype == DType::q4_0 ? static_cast<uint8_t>(block[2 + i % 16] >> (i / 16 * 4) & 15)
                                                 : static_cast<uint8_t>(block[2 + i] + 128);
      const size_t per_word = kBlock / words;
      parts.words[b * words + i / per_word] |= static_cast<uint32_t>(level) << (i % per_word * (32 / per_word));
    }
  }
  return parts;
}

class PackedWriter final : public CheckpointWriter {
 public:
  PackedWriter(const std::string& path, const std::vector<TensorInfo>& plan, Json config, const WriteOptions& options) {
    DType blocks = DType::f32;
    std::vector<TensorInfo> stored;
    std::vector<std::string> ignored;
    for (const TensorInfo& t : plan) {
      types_.emplace(t.name, t);
      if (!is_block_quantized(t.dtype)) {
        stored.push_back(t);
        const bool is_linear = t.shape.size() == 2 && t.name.ends_with(kWeight) && !t.name.ends_with(kEmbedding);
        if (is_linear) ignored.push_back(layer_of(t.name));
        continue;
      }
      const bool fits = (t.dtype == DType::q4_0 || t.dtype == DType::q8_0) && t.shape.size() == 2 &&
                        t.name.ends_with(kWeight) && !t.name.ends_with(kEmbedding);
      check(fits, ErrorCode::unsupported,
            "{}: '{}' is {}; compressed-tensors folders hold q4_0 or q8_0 in Linear layers only, embeddings and all "
            "else in "
            "f32, f16 or bf16. 'caravan quantize --type int4' (or int8) makes such a folder from the unquantized model",
            path, t.name, to_string(t.dtype));
      check(blocks == DType::f32 || blocks == t.dtype, ErrorCode::unsupported,
            "{}: {} and {} in one compressed-tensors folder are not written", path, to_string(blocks),
            to_string(t.dtype));
      blocks = t.dtype;
      const std::string name = layer_of(t.name);
      const int64_t rows = t.shape[0], columns = t.shape[1];
      stored.push_back({name + ".weight_packed", DType::i32, {rows, columns * (blocks == DType::q4_0 ? 4 : 8) / 32}});
      stored.push_back({name + ".weight_scale", DType::f16, {rows, columns / kBlock}});
      stored.push_back({name + ".weight_shape", DType::i64, {2}});
    }
    if (blocks != DType::f32) {
      // A tied head is a Linear without a tensor of its own: the reader must not look for its packed one.
      const Json* tied = find_member(config, "tie_word_embeddings");
      const bool has_head = types_.contains("lm_head.weight");
      if (!has_head && tied != nullptr && tied->is_boolean() && tied->get<bool>()) ignored.push_back("lm_head");
      config["quantization_config"] = quantization_config(blocks == DType::q4_0 ? 4 : 8, ignored);
    }
    writer_ = create_safetensors(path, std::move(stored), config, options);
  }

  void write(std::string_view name, std::span<const std::byte> bytes) override {
    const auto it = types_.find(std::string(name));
    check(it != types_.end(), ErrorCode::invalid_argument, "the tensor '{}' is not in the plan", name);
    const TensorInfo& t = it->second;
    if (!is_block_quantized(t.dtype)) return writer_->write(name, bytes);
    check(static_cast<int64_t>(bytes.size()) == tensor_bytes(t.dtype, t.shape, t.name), ErrorCode::invalid_argument,
          "'{}' has {} bytes", name, bytes.size());
    const Parts parts = take_apart(t.dtype, bytes);
    writer_->write(layer_of(name) + ".weight_packed", std::as_bytes(std::span(parts.words)));
    writer_->write(layer_of(name) + ".weight_scale", std::as_bytes(std::span(parts.scales)));
    writer_->write(layer_of(name) + ".weight_shape", std::as_bytes(std::span(t.shape)));
  }
  void finish() override { writer_->finish(); }

 private:
  std::map<std::string, TensorInfo> types_;
  std::unique_ptr<CheckpointWriter> writer_;
};

}  // namespace

std::unique_ptr<CheckpointWriter> create_packed(const std::string& path, std::vector<TensorInfo> plan,
                                                const Json& config, const WriteOptions& options) {
  return std::make_unique<PackedWriter>(path, plan, config, options);
}

}  // namespace caravan::formats
