// Rotary embedding's two conventions, and llama3's frequency factors.
//
// Hugging Face rotates element i of a head with element i + D/2; llama.cpp's `llama` architecture rotates 2i with
// 2i + 1, so its files hold the rows of q_proj and k_proj in that order: GGUF row 2i + j of a head is Hugging Face's
// row j * D/2 + i (i in [0, D/2), j in {0, 1}).
// llama3 scaling is baked into a tensor rope_freqs.weight [D/2]: the angle of pair i is position * freq_i / factor_i.
// Source: llama.cpp's convert_hf_to_gguf.py (LlamaModel.permute, generate_extra_tensors), transformers'
// modeling_rope_utils.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace caravan::formats {

// Rows are byte ranges, so every storage type works, block-quantized ones included. heads divides rows into even parts.
struct RotaryRows {
  int64_t heads = 1;
  int64_t rows = 0;  // heads * D
  int64_t row_bytes = 0;
};
void rows_to_huggingface(const RotaryRows& shape, std::span<const std::byte> from, std::span<std::byte> to);
void rows_to_gguf(const RotaryRows& shape, std::span<const std::byte> from, std::span<std::byte> to);

struct Llama3Scaling {
  double factor = 8, low_freq_factor = 1, high_freq_factor = 4;
  double original_max_position_embeddings = 8192;
};

// factor_i for i in [0, pairs): 1 for short wavelengths, `factor` for long ones, a smooth step between.
std::vector<float> llama3_frequency_factors(const Llama3Scaling& scaling, double theta, int64_t pairs);

// The scaling whose factors these are, to a relative 1e-5; none where they follow no llama3 scaling. Only the ratios of
// the last three members can be told from factors: `original_hint` (0: none), 8192 and powers of two are tried first.
std::optional<Llama3Scaling> find_llama3_scaling(std::span<const float> factors, double theta, double original_hint);

}  // namespace caravan::formats
