#include "caravan/quant/half_range.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "caravan/formats/cast.h"
#include "caravan/ops/threads.h"

namespace caravan::quant {
namespace {

bool is_beyond(float value) {
  constexpr float kRoundsToInfinity = 65520.0f;  // halfway from the largest half, 65504, to the next power of two
  return std::isfinite(value) && std::fabs(value) >= kRoundsToInfinity;
}

bool has_number_beyond(const formats::Checkpoint& from, const formats::TensorInfo& tensor) {
  constexpr size_t kPiece = 4096;  // elements at a time
  const formats::TensorBytes stored = from.read(tensor.name);
  const auto size = static_cast<size_t>(dtype_info(tensor.dtype).block_bytes);
  const size_t count = stored.bytes.size() / size;
  std::atomic<bool> found = false;
  ops::parallel_pieces(static_cast<int64_t>((count + kPiece - 1) / kPiece), 16, [&](int64_t begin, int64_t end) {
    std::vector<float> piece(kPiece);
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end) && !found; ++i) {
      const std::span<float> values = std::span(piece).first(std::min(kPiece, count - i * kPiece));
      formats::cast_elements(tensor.dtype, stored.bytes.subspan(i * kPiece * size, values.size() * size), DType::f32,
                             std::as_writable_bytes(values));
      if (std::ranges::any_of(values, is_beyond)) found = true;
    }
  });
  return found;
}

}  // namespace

std::map<std::string, DType> beyond_half(const formats::Checkpoint& from, const RecipeOptions& recipe) {
  const TypeChooser choose(from, recipe);
  std::map<std::string, DType> found;
  for (const formats::TensorInfo& t : from.tensors()) {
    const bool is_wider = t.dtype == DType::bf16 || t.dtype == DType::f32 || t.dtype == DType::f64;
    if (!is_wider || choose(t) != DType::f16 || !has_number_beyond(from, t)) continue;
    found.emplace(t.name, t.dtype == DType::bf16 ? DType::bf16 : DType::f32);
  }
  return found;
}

}  // namespace caravan::quant
