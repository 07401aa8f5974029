#include "caravan/formats/packed_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/formats/cast.h"
#include "caravan/formats/packed_layouts.h"

namespace caravan::formats {
namespace {

constexpr int64_t kBlock = 32;

uint16_t half_bits(float value) {
  uint16_t half = 0;
  cast_elements(DType::f32, std::as_bytes(std::span(&value, 1)), DType::f16,
                std::as_writable_bytes(std::span(&half, 1)));
  return half;
}

bool is_half(float value) {
  const uint16_t half = half_bits(value);
  float back = 0;
  cast_elements(DType::f16, std::as_bytes(std::span(&half, 1)), DType::f32,
                std::as_writable_bytes(std::span(&back, 1)));
  return back == value;
}

DType shown_dtype(const PackedMatrix& m, DType scale_dtype) {
  const bool blocks = m.in_order && m.columns % kBlock == 0 && m.group_size() % kBlock == 0 &&
                      std::all_of(m.scales.begin(), m.scales.end(), is_half);
  const auto middle = static_cast<uint8_t>(1 << (m.bits - 1));
  const bool symmetric = std::all_of(m.zeros.begin(), m.zeros.end(), [&](uint8_t z) { return z == middle; });
  if (blocks && m.bits == 8 && symmetric) return DType::q8_0;
  if (blocks && m.bits < 4) return DType::q4_0;  // level - zero is within -7 .. 7 whatever the zero
  if (blocks && m.bits == 4) return symmetric ? DType::q4_0 : DType::q4_1;
  return can_cast(DType::f32, scale_dtype) ? scale_dtype : DType::f32;
}

// Rows as blocks: a half (or two), then 32 levels.
void write_blocks(const PackedMatrix& m, DType dtype, std::byte* to) {
  auto* out = reinterpret_cast<uint8_t*>(to);
  for (int64_t o = 0; o < m.rows; ++o) {
    for (int64_t i = 0; i < m.columns; i += kBlock) {
      const auto at = static_cast<size_t>(o * m.groups + i / m.group_size());
      const float scale = m.scales[at];
      const uint16_t d = half_bits(scale), offset = half_bits(-scale * static_cast<float>(m.zeros[at]));
      const uint8_t* levels = m.levels.data() + o * m.columns + i;
      std::memcpy(out, &d, sizeof d);
      out += sizeof d;
      if (dtype == DType::q4_1) {
        std::memcpy(out, &offset, sizeof offset);
        out += sizeof offset;
      }
      if (dtype == DType::q8_0) {
        for (int64_t k = 0; k < kBlock; ++k) *out++ = static_cast<uint8_t>(levels[k] - 128);
      } else {
        const int shift = dtype == DType::q4_0 ? 8 - m.zeros[at] : 0;
        for (int64_t k = 0; k < kBlock / 2; ++k) {
          *out++ = static_cast<uint8_t>((levels[k] + shift) | (levels[k + 16] + shift) << 4);
        }
      }
    }
  }
}

void write_dense(const PackedMatrix& m, std::vector<float>& to) {
  for (int64_t o = 0; o < m.rows; ++o) {
    for (int64_t i = 0; i < m.columns; ++i) {
      const auto g = static_cast<size_t>(o * m.groups + m.group[static_cast<size_t>(i)]);
      const auto at = static_cast<size_t>(o * m.columns + i);
      to[at] = m.scales[g] * static_cast<float>(static_cast<int>(m.levels[at]) - static_cast<int>(m.zeros[g]));
    }
  }
}

class PackedCheckpoint final : public Checkpoint {
 public:
  PackedCheckpoint(std::unique_ptr<Checkpoint> stored, std::unique_ptr<PackedLayout> layout)
      : Checkpoint(stored->path()), stored_(std::move(stored)), layout_(std::move(layout)), config_(stored_->config()) {
    config_.erase("quantization_config");
    for (const TensorInfo& t : stored_->tensors()) {
      if (!layout_->is_part(t.name)) tensors_.push_back(t);
    }
    for (PackedLayer& layer : layout_->layers()) {
      const std::string name = layer.name + ".weight";
      const DType dtype = shown_dtype(layout_->read(layer, false), layer.scale_dtype);
      tensors_.push_back({name, dtype, layer.shape});
      layers_.emplace(name, std::move(layer));
    }
  }

  std::string_view format() const override { return stored_->format(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const Json& config() const override { return config_; }
  void check() const override { stored_->check(); }
  std::string side_file(std::string_view name) const override { return stored_->side_file(name); }

  TensorBytes read(std::string_view name) const override {
    const auto it = layers_.find(std::string(name));
    if (it == layers_.end()) return stored_->read(name);
    const TensorInfo& shown = *find(name);
    const PackedMatrix m = layout_->read(it->second, true);
    auto bytes = std::make_shared<std::vector<std::byte>>(
        static_cast<size_t>(tensor_bytes(shown.dtype, shown.shape, shown.name)));
    if (is_block_quantized(shown.dtype)) {
      write_blocks(m, shown.dtype, bytes->data());
    } else {
      std::vector<float> values(m.levels.size());
      write_dense(m, values);
      cast_elements(DType::f32, std::as_bytes(std::span(values)), shown.dtype, *bytes);
    }
    const std::span<const std::byte> view = *bytes;
    return {view, std::move(bytes)};
  }

 private:
  std::unique_ptr<Checkpoint> stored_;
  std::unique_ptr<PackedLayout> layout_;
  Json config_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, PackedLayer> layers_;
};

}  // namespace

std::unique_ptr<Checkpoint> present_packed(std::unique_ptr<Checkpoint> checkpoint) {
  std::unique_ptr<PackedLayout> layout = find_packed_layout(*checkpoint);
  if (layout == nullptr) return checkpoint;
  return std::make_unique<PackedCheckpoint>(std::move(checkpoint), std::move(layout));
}

}  // namespace caravan::formats
