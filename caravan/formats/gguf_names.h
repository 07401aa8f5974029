// What GGUF calls an architecture and its tensors, and what Hugging Face calls them.
//
//   const GgufArchitecture* a = find_gguf_architecture("llama");
//   huggingface_tensor_name(*a, "blk.3.attn_q.weight");   // "model.layers.3.self_attn.q_proj.weight"
//
// Adding a family is one line in the architectures' list, and a list of names where its layout is a new one.
// Source: llama.cpp's gguf-py/gguf/{constants,tensor_mapping}.py.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace caravan::formats {

struct GgufArchitecture {
  std::string_view name;        // general.architecture
  std::string_view model_type;  // config.json
  std::string_view class_name;  // config.json's architectures
  bool permutes_qk;             // llama.cpp stores q and k rows in the order of rotating pairs (2i, 2i + 1)
  std::span<const std::pair<std::string_view, std::string_view>> names;  // GGUF, Hugging Face; '*' is the layer
};

// By general.architecture (the first line wins where several families share one), or by config.json's model_type.
const GgufArchitecture* find_gguf_architecture(std::string_view name);
const GgufArchitecture* find_gguf_architecture_of_model_type(std::string_view model_type);
std::string gguf_model_types();  // those that can be written, for messages

// With the ending (.weight, .bias) and the layer carried over; none where the list has no such name.
std::optional<std::string> huggingface_tensor_name(const GgufArchitecture& architecture, std::string_view gguf_name);
std::optional<std::string> gguf_tensor_name(const GgufArchitecture& architecture, std::string_view huggingface_name);

}  // namespace caravan::formats
