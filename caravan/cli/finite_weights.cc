#include "caravan/cli/finite_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "caravan/formats/cast.h"
#include "caravan/ops/dequantize.h"
#include "caravan/ops/threads.h"

namespace caravan::cli {
namespace {

constexpr int64_t kPiece = 4096;  // elements at a time; a whole number of blocks of every type

bool is_finite(float value) { return std::isfinite(value); }

// `n` elements of a tensor, from the one at `first` on.
void read_floats(DType dtype, std::span<const std::byte> bytes, int64_t first, std::span<float> values) {
  const DTypeInfo& info = dtype_info(dtype);
  const auto offset = static_cast<size_t>(first / info.block_size * info.block_bytes);
  if (ops::can_dequantize(dtype)) return ops::dequantize(dtype, &bytes[offset], values.data(), std::ssize(values));
  const size_t size = values.size() * static_cast<size_t>(info.block_bytes);
  formats::cast_elements(dtype, bytes.subspan(offset, size), DType::f32, std::as_writable_bytes(values));
}

}  // namespace

std::optional<std::string> find_not_finite(const formats::Checkpoint& checkpoint, const formats::TensorInfo& tensor) {
  if (!is_block_quantized(tensor.dtype) && !is_floating_point(tensor.dtype)) return std::nullopt;
  const formats::TensorBytes stored = checkpoint.read(tensor.name);
  const DTypeInfo& info = dtype_info(tensor.dtype);
  const int64_t count = std::ssize(stored.bytes) / info.block_bytes * info.block_size;
  std::atomic<int64_t> first = count;
  ops::parallel_pieces((count + kPiece - 1) / kPiece, 16, [&](int64_t begin, int64_t end) {
    float piece[kPiece];
    for (int64_t at = begin * kPiece; at < std::min(end * kPiece, first.load()); at += kPiece) {
      const std::span<float> values(piece, static_cast<size_t>(std::min(kPiece, count - at)));
      read_floats(tensor.dtype, stored.bytes, at, values);
      const int64_t found = at + (std::ranges::find_if_not(values, is_finite) - values.begin());
      if (found == at + std::ssize(values)) continue;
      for (int64_t least = first.load(); found < least && !first.compare_exchange_weak(least, found);) {
      }
      return;
    }
  });
  checkpoint.check();
  if (first == count) return std::nullopt;
  const int64_t at = first / kPiece * kPiece;
  std::vector<float> values(static_cast<size_t>(std::min(kPiece, count - at)));
  read_floats(tensor.dtype, stored.bytes, at, values);
  return fmt::format("tensor '{}': element {} is {}", tensor.name, first.load(),
                     values[static_cast<size_t>(first - at)]);
}

std::optional<std::string> find_not_finite(const formats::Checkpoint& checkpoint) {
  for (const formats::TensorInfo& tensor : checkpoint.tensors()) {
    if (std::optional<std::string> found = find_not_finite(checkpoint, tensor)) return found;
  }
  return std::nullopt;
}

}  // namespace caravan::cli
