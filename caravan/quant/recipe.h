// Which tensor gets which type: one type for all, or llama.cpp's mixtures, which give more bits to the tensors whose
// errors cost most. Rules of the user come first.
//
//   TypeChooser choose(*checkpoint, {.recipe = "q4_k_m", .rules = {parse_rule("v_proj=q8_0")}});
//   DType dtype = choose(tensor);                     // of a TensorInfo of the checkpoint
//   for (const std::string& line : choose.warnings()) ...
//
// Source of the mixtures: llama.cpp's src/llama-quant.cpp (llama_tensor_get_type) for models without experts. Adding
// one is a line of the list in recipe.cc.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/formats/checkpoint.h"

namespace caravan::quant {

// A tensor whose name (Hugging Face's, or GGUF's where it has one) contains the pattern; '*' stands for anything.
struct TypeRule {
  std::string pattern;
  DType dtype;
};
TypeRule parse_rule(std::string_view text);  // "PATTERN=TYPE"; throws invalid_argument

struct RecipeOptions {
  std::string recipe;                        // "q4_0", "q4_k_m", "q8_0", "f16" ...
  std::vector<TypeRule> rules;               // the first that matches decides
  bool has_importance = false;               // some mixtures need fewer bits then
  std::map<std::string, DType> beyond_half;  // tensors that f16 cannot hold, and what does (half_range.h)
};

std::vector<std::string> recipe_names();
bool is_folder_recipe(std::string_view recipe);  // "int4", "int8": groups of 32, for a Hugging Face folder
class TypeChooser {
 public:
  // Throws invalid_argument for an unknown recipe, with the nearest name and the list, and for a rule that no matrix
  // matches.
  TypeChooser(const formats::Checkpoint& from, RecipeOptions options);

  // Vectors (norms, biases) are f32 (f16 in a folder), matrices what recipe and rules say. Where a row is no multiple
  // of the type's block the nearest type that fits takes its place. Integers and what is no ".weight" keep their type.
  // Of what f16 cannot hold each tensor gets a wider type; in a folder, whose config names one type, all of f16 do.
  DType operator()(const formats::TensorInfo& tensor) const;

  DType dense_dtype() const { return dense_; }  // of a folder's tensors that are no blocks
  std::vector<std::string> warnings() const;    // replacements, one line a kind

 private:
  bool matches_rule(const TypeRule& rule, const formats::TensorInfo& tensor) const;
  DType wanted(const formats::TensorInfo& tensor) const;
  DType fitting(DType dtype, const formats::TensorInfo& tensor) const;
  DType held(DType dtype, const formats::TensorInfo& tensor) const;  // f16, or what its numbers need

  const formats::Checkpoint& from_;
  RecipeOptions options_;
  size_t recipe_ = 0;
  DType dense_ = DType::f16;
  int64_t layers_ = 0, heads_ = 1, kv_heads_ = 1;
};

}  // namespace caravan::quant
