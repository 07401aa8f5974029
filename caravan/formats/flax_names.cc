// Flax names and layouts.
#include "caravan/formats/flax_names.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

std::vector<std::string> split(std::string_view name) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find('.', at), name.size());
    parts.emplace_back(name.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

bool is_embedding(std::string_view module) {
  if (module == "embed_out") return false;  // GPT-NeoX's head
  return module.find("embed") != std::string_view::npos || module == "wte" || module == "wpe" || module == "shared" ||
         module == "relative_attention_bias";
}

// axes[i]: which axis of the stored tensor becomes axis i.
using Axes = std::vector<size_t>;
Axes to_flax_axes(size_t rank) {
  if (rank == 4) return {2, 3, 1, 0};
  Axes axes(rank);
  std::iota(axes.rbegin(), axes.rend(), size_t{0});
  return axes;
}
Axes from_flax_axes(size_t rank) { return rank == 4 ? Axes{3, 2, 0, 1} : to_flax_axes(rank); }

std::vector<int64_t> permuted(std::span<const int64_t> shape, const Axes& axes) {
  std::vector<int64_t> result;
  for (const size_t axis : axes) result.push_back(shape[axis]);
  return result;
}

// One plane of a permutation in blocks that stay in the cache: to[c, r] = from[r * row_stride + c * column_stride].
struct Plane {
  int64_t rows, columns, row_stride, column_stride;  // strides in elements of `from`
};
template <size_t unit>
void copy_plane(const std::byte* from, const Plane& p, std::byte* to) {
  constexpr int64_t kBlock = 32;
  for (int64_t r0 = 0; r0 < p.rows; r0 += kBlock) {
    for (int64_t c0 = 0; c0 < p.columns; c0 += kBlock) {
      for (int64_t r = r0; r < std::min(r0 + kBlock, p.rows); ++r) {
        for (int64_t c = c0; c < std::min(c0 + kBlock, p.columns); ++c) {
          std::memcpy(to + static_cast<size_t>(r * p.columns + c) * unit,
                      from + static_cast<size_t>(r * p.row_stride + c * p.column_stride) * unit, unit);
        }
      }
    }
  }
}

void copy_plane(const std::byte* from, const Plane& plane, std::byte* to, size_t unit) {
  switch (unit) {
    case 1:
      return copy_plane<1>(from, plane, to);
    case 2:
      return copy_plane<2>(from, plane, to);
    case 4:
      return copy_plane<4>(from, plane, to);
    default:
      return copy_plane<8>(from, plane, to);
  }
}

// The last two axes of the result are planes; the axes before them are counted through.
void permute(std::span<const std::byte> from, std::span<const int64_t> shape, const Axes& axes, size_t unit,
             std::span<std::byte> to) {
  if (from.empty()) return;
  const size_t rank = shape.size();
  std::vector<int64_t> strides(rank, 1);
  for (size_t i = rank - 1; i > 0; --i) strides[i - 1] = strides[i] * shape[i];
  const std::vector<int64_t> result = permuted(shape, axes);
  const Plane plane{result[rank - 2], result[rank - 1], strides[axes[rank - 2]], strides[axes[rank - 1]]};
  const size_t plane_bytes = static_cast<size_t>(plane.rows * plane.columns) * unit;
  std::vector<int64_t> index(rank, 0);
  for (std::byte* out = to.data(); out != to.data() + to.size(); out += plane_bytes) {
    int64_t offset = 0;
    for (size_t i = 0; i + 2 < rank; ++i) offset += index[i] * strides[axes[i]];
    copy_plane(from.data() + static_cast<size_t>(offset) * unit, plane, out, unit);
    for (size_t i = rank - 2; i > 0 && ++index[i - 1] == result[i - 1]; --i) index[i - 1] = 0;
  }
}

}  // namespace

bool is_flax_kernel(std::string_view leaf, size_t rank) { return leaf == "kernel" && rank >= 2; }

std::string from_flax_name(const FlaxName& flax) {
  std::string name;
  for (size_t i = 0; i < flax.path.size(); ++i) {
    const bool is_leaf = i + 1 == flax.path.size();
    const std::string& part = flax.path[i];
    const bool is_weight = is_leaf && (part == "kernel" || part == "embedding" || part == "scale");
    name.append(i == 0 ? "" : ".").append(is_weight ? "weight" : part);
  }
  return name;
}

FlaxName to_flax_name(const TensorInfo& tensor, std::span<const std::string> all_names) {
  FlaxName flax{.path = split(tensor.name)};
  constexpr size_t kMaxDepth = 60;  // what the reader takes
  check(flax.path.size() <= kMaxDepth, ErrorCode::unsupported, "the name '{}' has more than {} parts", tensor.name,
        kMaxDepth);
  std::string& leaf = flax.path.back();
  check(leaf != "kernel" && leaf != "embedding" && leaf != "scale" && tensor.name.find("..") == std::string::npos,
        ErrorCode::unsupported, "flax files cannot hold the name '{}': it would be read back as another", tensor.name);
  if (leaf != "weight") return flax;
  const std::string module = flax.path.size() < 2 ? "" : flax.path[flax.path.size() - 2];
  if (tensor.shape.size() >= 2) {
    flax.is_transposed = tensor.shape.size() > 2 || !is_embedding(module);
    leaf = flax.is_transposed ? "kernel" : "embedding";
  } else {
    const std::string bias = tensor.name.substr(0, tensor.name.size() - leaf.size()) + "bias";
    if (std::binary_search(all_names.begin(), all_names.end(), bias)) leaf = "scale";
  }
  return flax;
}

std::vector<int64_t> to_flax_shape(std::vector<int64_t> shape) { return permuted(shape, to_flax_axes(shape.size())); }
std::vector<int64_t> from_flax_shape(std::vector<int64_t> shape) {
  return permuted(shape, from_flax_axes(shape.size()));
}

void transpose_to_flax(std::span<const std::byte> from, std::span<const int64_t> shape, size_t unit,
                       std::span<std::byte> to) {
  permute(from, shape, to_flax_axes(shape.size()), unit, to);
}
void transpose_from_flax(std::span<const std::byte> from, std::span<const int64_t> shape, size_t unit,
                         std::span<std::byte> to) {
  permute(from, shape, from_flax_axes(shape.size()), unit, to);
}

}  // namespace caravan::formats
