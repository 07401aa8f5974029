#include "caravan/formats/packed_layouts.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_set>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/formats/cast.h"

namespace caravan::formats {
namespace {

// A tensor of 32-bit words, or of floats, with its shape checked.
struct Words {
  std::vector<uint32_t> values;
  int64_t width = 0;
  uint32_t at(int64_t row, int64_t column) const { return values[static_cast<size_t>(row * width + column)]; }
};

const TensorInfo& need(const Checkpoint& from, const std::string& name) {
  const TensorInfo* tensor = from.find(name);
  check_file(tensor != nullptr, FileFault::layout, from.path(), "there is no tensor '{}' beside the packed weights",
             name);
  return *tensor;
}

void expect_shape(const Checkpoint& from, const TensorInfo& t, int64_t rows, int64_t columns) {
  const bool fits = t.shape.size() == 2 && t.shape[0] == rows && t.shape[1] == columns;
  check_file(fits, FileFault::layout, from.path(), "'{}' must have the shape [{}, {}]", t.name, rows, columns);
}

Words read_words(const Checkpoint& from, const std::string& name, int64_t rows, int64_t columns) {
  const TensorInfo& t = need(from, name);
  expect_shape(from, t, rows, columns);
  check_file(t.dtype == DType::i32, FileFault::type, from.path(), "'{}' is {}, expected i32", name, to_string(t.dtype));
  const TensorBytes bytes = from.read(name);
  Words words{std::vector<uint32_t>(bytes.bytes.size() / 4), columns};
  std::memcpy(words.values.data(), bytes.bytes.data(), words.values.size() * 4);
  return words;
}

std::vector<float> read_floats(const Checkpoint& from, const TensorInfo& t) {
  check_file(can_cast(t.dtype, DType::f32), FileFault::type, from.path(), "'{}' is {}, expected floating-point numbers",
             t.name, to_string(t.dtype));
  std::vector<float> values(static_cast<size_t>(checked_numel(t.shape, t.name)));
  cast_elements(t.dtype, from.read(t.name).bytes, DType::f32, std::as_writable_bytes(std::span(values)));
  return values;
}

// [groups, out] -> [out, groups]
std::vector<float> transposed(const std::vector<float>& from, int64_t rows, int64_t groups) {
  std::vector<float> to(from.size());
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t o = 0; o < rows; ++o) {
      to[static_cast<size_t>(o * groups + g)] = from[static_cast<size_t>(g * rows + o)];
    }
  }
  return to;
}

void set_groups(PackedMatrix& m, std::vector<int32_t> given, const std::string& where) {
  const int64_t size = m.group_size();
  m.group.resize(static_cast<size_t>(m.columns));
  for (int64_t i = 0; i < m.columns; ++i) m.group[static_cast<size_t>(i)] = static_cast<int32_t>(i / size);
  if (given.empty()) return;
  check_file(std::ssize(given) == m.columns, FileFault::layout, where, "{} group indexes for {} columns", given.size(),
             m.columns);
  for (const int32_t g : given) {
    check_file(g >= 0 && g < m.groups, FileFault::range, where, "the group index {} of {} groups", g, m.groups);
  }
  m.in_order = given == m.group;
  m.group = std::move(given);
}

std::vector<int32_t> read_indexes(const Checkpoint& from, const std::string& name) {
  const TensorInfo* t = from.find(name);
  if (t == nullptr) return {};
  check_file(t->dtype == DType::i32, FileFault::type, from.path(), "'{}' is {}, expected i32", name,
             to_string(t->dtype));
  const TensorBytes bytes = from.read(name);
  std::vector<int32_t> values(bytes.bytes.size() / 4);
  std::memcpy(values.data(), bytes.bytes.data(), values.size() * 4);
  return std::all_of(values.begin(), values.end(), [](int32_t g) { return g == -1; }) ? std::vector<int32_t>() : values;
}

int64_t groups_of(int64_t columns, int64_t group_size, const std::string& where) {
  if (group_size <= 0) return 1;
  check_file(columns % group_size == 0, FileFault::layout, where, "{} columns are no multiple of the group of {}",
             columns, group_size);
  return columns / group_size;
}

// Layers are found by one tensor that each of them has.
class NamedLayout : public PackedLayout {
 public:
  NamedLayout(const Checkpoint& from, std::string mark, std::vector<std::string> parts)
      : from_(from), mark_(std::move(mark)) {
    for (const TensorInfo& t : from.tensors()) {
      if (!t.name.ends_with(mark_)) continue;
      const std::string name = t.name.substr(0, t.name.size() - mark_.size());
      names_.push_back(name);
      for (const std::string& part : parts) parts_.insert(name + part);
    }
  }
  bool is_part(std::string_view tensor) const override { return parts_.contains(std::string(tensor)); }

 protected:
  const Checkpoint& from_;
  std::string mark_;
  std::vector<std::string> names_;
  std::unordered_set<std::string> parts_;
};

struct Settings {
  int bits = 4;
  int64_t group_size = -1;
  std::string where;
};

Settings read_settings(const Json& config, const std::string& path) {
  Settings s{.where = path + " (quantization_config)"};
  s.bits = static_cast<int>(get_int(config, "bits", s.where, {.min = 2, .max = 8}, 4));
  check(s.bits == 2 || s.bits == 4 || s.bits == 8, ErrorCode::unsupported, "{}: {}-bit weights are not read", s.where,
        s.bits);
  s.group_size = get_int(config, "group_size", s.where, {.min = -1, .max = 1 << 24}, -1);
  return s;
}

class Gptq final : public NamedLayout {
 public:
  Gptq(const Checkpoint& from, const Json& config)
      : NamedLayout(from, ".qweight", {".qweight", ".qzeros", ".scales", ".g_idx"}),
        settings_(read_settings(config, from.path())) {
    const std::string version = get_string(config, "checkpoint_format", settings_.where, std::string("gptq"));
    check(version == "gptq" || version == "gptq_v2", ErrorCode::unsupported, "{}: checkpoint_format '{}' is not read",
          settings_.where, version);
    shift_ = version == "gptq" ? 1 : 0;  // zeros are stored less one
  }

  std::vector<PackedLayer> layers() const override {
    std::vector<PackedLayer> all;
    for (const std::string& name : names_) {
      const TensorInfo &words = need(from_, name + ".qweight"), &scales = need(from_, name + ".scales");
      check_file(words.shape.size() == 2, FileFault::layout, from_.path(), "'{}' is no matrix", words.name);
      all.push_back(
          {name, {words.shape[1], checked_mul<int64_t>(words.shape[0], 32 / settings_.bits, name)}, scales.dtype});
    }
    return all;
  }

  PackedMatrix read(const PackedLayer& layer, bool with_levels) const override {
    const int per_word = 32 / settings_.bits;
    const uint32_t mask = (1U << settings_.bits) - 1;
    PackedMatrix m{.rows = layer.shape[0], .columns = layer.shape[1], .bits = settings_.bits};
    m.groups = groups_of(m.columns, settings_.group_size, layer.name);
    check_file(m.rows % per_word == 0, FileFault::layout, from_.path(), "'{}': {} rows are no whole words", layer.name,
               m.rows);
    const TensorInfo& scales = need(from_, layer.name + ".scales");
    expect_shape(from_, scales, m.groups, m.rows);
    m.scales = transposed(read_floats(from_, scales), m.rows, m.groups);
    set_groups(m, read_indexes(from_, layer.name + ".g_idx"), layer.name);
    const Words zeros = read_words(from_, layer.name + ".qzeros", m.groups, m.rows / per_word);
    m.zeros.resize(static_cast<size_t>(m.rows * m.groups));
    for (int64_t g = 0; g < m.groups; ++g) {
      for (int64_t o = 0; o < m.rows; ++o) {
        const uint32_t stored = zeros.at(g, o / per_word) >> (settings_.bits * (o % per_word)) & mask;
        m.zeros[static_cast<size_t>(o * m.groups + g)] = static_cast<uint8_t>((stored + shift_) & mask);
      }
    }
    if (!with_levels) return m;
    const Words words = read_words(from_, layer.name + ".qweight", m.columns / per_word, m.rows);
    m.levels.resize(static_cast<size_t>(checked_mul<int64_t>(m.rows, m.columns, layer.name)));
    for (int64_t i = 0; i < m.columns; ++i) {
      const auto shift = static_cast<uint32_t>(settings_.bits * (i % per_word));
      for (int64_t o = 0; o < m.rows; ++o) {
        m.levels[static_cast<size_t>(o * m.columns + i)] =
            static_cast<uint8_t>(words.at(i / per_word, o) >> shift & mask);
      }
    }
    return m;
  }

 private:
  Settings settings_;
  uint32_t shift_ = 1;
};

class Awq final : public NamedLayout {
 public:
  Awq(const Checkpoint& from, const Json& config)
      : NamedLayout(from, ".qweight", {".qweight", ".qzeros", ".scales"}),
        settings_(read_settings(config, from.path())) {
    const std::string version = get_string(config, "version", settings_.where, std::string("gemm"));
    check((version == "gemm" || version == "GEMM") && settings_.bits == 4, ErrorCode::unsupported,
          "{}: {} bits, version '{}': only 4-bit 'gemm' is read", settings_.where, settings_.bits, version);
  }

  std::vector<PackedLayer> layers() const override {
    std::vector<PackedLayer> all;
    for (const std::string& name : names_) {
      const TensorInfo &words = need(from_, name + ".qweight"), &scales = need(from_, name + ".scales");
      check_file(words.shape.size() == 2, FileFault::layout, from_.path(), "'{}' is no matrix", words.name);
      all.push_back({name, {checked_mul<int64_t>(words.shape[1], kPerWord, name), words.shape[0]}, scales.dtype});
    }
    return all;
  }

  PackedMatrix read(const PackedLayer& layer, bool with_levels) const override {
    PackedMatrix m{.rows = layer.shape[0], .columns = layer.shape[1], .bits = 4};
    m.groups = groups_of(m.columns, settings_.group_size, layer.name);
    const TensorInfo& scales = need(from_, layer.name + ".scales");
    expect_shape(from_, scales, m.groups, m.rows);
    m.scales = transposed(read_floats(from_, scales), m.rows, m.groups);
    set_groups(m, {}, layer.name);
    const Words zeros = read_words(from_, layer.name + ".qzeros", m.groups, m.rows / kPerWord);
    m.zeros.resize(static_cast<size_t>(m.rows * m.groups));
    unpack(zeros, m.groups, m.rows, m.zeros);
    if (!with_levels) return m;
    m.levels.resize(static_cast<size_t>(checked_mul<int64_t>(m.rows, m.columns, layer.name)));
    unpack(read_words(from_, layer.name + ".qweight", m.columns, m.rows / kPerWord), m.columns, m.rows, m.levels);
    return m;
  }

 private:
  static constexpr int64_t kPerWord = 8;

  // Words [count, rows / 8] -> [rows, count]: place k of a word holds column kOrder[k] of its eight.
  static void unpack(const Words& words, int64_t count, int64_t rows, std::vector<uint8_t>& to) {
    constexpr std::array<int64_t, 8> kOrder = {0, 2, 4, 6, 1, 3, 5, 7};
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t word = 0; word < rows / kPerWord; ++word) {
        const uint32_t packed = words.at(i, word);
        for (size_t k = 0; k < kOrder.size(); ++k) {
          to[static_cast<size_t>((word * kPerWord + kOrder[k]) * count + i)] =
              static_cast<uint8_t>(packed >> (4 * k) & 15);
        }
      }
    }
  }

  Settings settings_;
};

// The weights' arguments of the one group of layers: {"num_bits", "group_size", "symmetric", "strategy", "type"}.
const Json& compressed_weights(const Json& config, const std::string& where) {
  const Json* groups = find_member(config, "config_groups");
  check_file(groups != nullptr && groups->is_object() && !groups->empty(), FileFault::json, where,
             "config_groups: expected an object");
  check(groups->size() == 1, ErrorCode::unsupported, "{}: {} config_groups; one is read", where, groups->size());
  const Json* weights = find_member(groups->front(), "weights");
  check_file(weights != nullptr && weights->is_object(), FileFault::json, where, "weights: expected an object");
  const Json* inputs = find_member(groups->front(), "input_activations");
  check(inputs == nullptr || inputs->is_null() || get_bool(*inputs, "dynamic", where, false), ErrorCode::unsupported,
        "{}: activations with stored scales are not read", where);
  return *weights;
}

class Compressed final : public NamedLayout {
 public:
  Compressed(const Checkpoint& from, const Json& config, bool packed)
      : NamedLayout(from, packed ? ".weight_packed" : ".weight_scale",
                    {".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx",
                     packed ? ".weight_packed" : ".weight"}),
        packed_(packed) {
    const std::string where = from.path() + " (quantization_config)";
    const Json& weights = compressed_weights(config, where);
    bits_ = static_cast<int>(get_int(weights, "num_bits", where, {.min = 2, .max = 8}));
    const std::string type = get_string(weights, "type", where, std::string("int"));
    check(type == "int" && (bits_ == 4 || bits_ == 8), ErrorCode::unsupported, "{}: {}-bit '{}' weights are not read",
          where, bits_, type);
    const std::string strategy = get_string(weights, "strategy", where, std::string("group"));
    check(strategy == "group" || strategy == "channel" || strategy == "tensor", ErrorCode::unsupported,
          "{}: scales by '{}' are not read", where, strategy);
    one_scale_ = strategy == "tensor";
  }

  std::vector<PackedLayer> layers() const override {
    std::vector<PackedLayer> all;
    for (const std::string& name : names_) {
      const TensorInfo& scales = need(from_, name + ".weight_scale");
      const TensorInfo& stored = need(from_, name + (packed_ ? ".weight_packed" : ".weight"));
      check_file(stored.shape.size() == 2, FileFault::layout, from_.path(), "'{}' is no matrix", stored.name);
      std::vector<int64_t> shape = stored.shape;
      if (packed_) shape = shape_of(name, stored);
      all.push_back({name, std::move(shape), scales.dtype});
    }
    return all;
  }

  PackedMatrix read(const PackedLayer& layer, bool with_levels) const override {
    PackedMatrix m{.rows = layer.shape[0], .columns = layer.shape[1], .bits = bits_};
    const TensorInfo& scales = need(from_, layer.name + ".weight_scale");
    if (one_scale_) return read_with_one_scale(layer, scales, std::move(m), with_levels);
    check_file(!scales.shape.empty() && scales.shape.size() <= 2, FileFault::layout, from_.path(),
               "'{}' must be a matrix", scales.name);
    m.groups = scales.shape.size() == 2 ? scales.shape[1] : 1;
    check_file(scales.shape[0] == m.rows && m.groups >= 1 && m.columns % m.groups == 0, FileFault::layout, from_.path(),
               "'{}': {} scales a row for {} columns", scales.name, m.groups, m.columns);
    m.scales = read_floats(from_, scales);
    set_groups(m, read_indexes(from_, layer.name + ".weight_g_idx"), layer.name);
    read_zeros(layer, m);
    if (with_levels) read_levels(layer, m);
    return m;
  }

 private:
  // Every row gets the matrix's scale and zero.
  PackedMatrix read_with_one_scale(const PackedLayer& layer, const TensorInfo& scale, PackedMatrix m,
                                   bool with_levels) const {
    check_file(checked_numel(scale.shape, scale.name) == 1, FileFault::layout, from_.path(), "'{}' must be one number",
               scale.name);
    m.groups = 1;
    m.scales.assign(static_cast<size_t>(m.rows), read_floats(from_, scale)[0]);
    set_groups(m, {}, layer.name);
    const int middle = 1 << (bits_ - 1);
    uint8_t zero = static_cast<uint8_t>(middle);
    if (const TensorInfo* t = from_.find(layer.name + ".weight_zero_point")) {
      check_file(t->dtype == DType::i8 && checked_numel(t->shape, t->name) == 1, FileFault::layout, from_.path(),
                 "'{}' must be one 8-bit integer", t->name);
      zero = static_cast<uint8_t>(static_cast<int8_t>(from_.read(t->name).bytes[0]) + middle);
    }
    m.zeros.assign(static_cast<size_t>(m.rows), zero);
    if (with_levels) read_levels(layer, m);
    return m;
  }

  std::vector<int64_t> shape_of(const std::string& name, const TensorInfo& stored) const {
    const TensorInfo& t = need(from_, name + ".weight_shape");
    check_file(t.dtype == DType::i64 && checked_numel(t.shape, t.name) == 2, FileFault::layout, from_.path(),
               "'{}' must be two 64-bit integers", t.name);
    std::vector<int64_t> shape(2);
    std::memcpy(shape.data(), from_.read(t.name).bytes.data(), sizeof(int64_t) * 2);
    const int64_t per_word = 32 / bits_;
    check_file(shape[0] == stored.shape[0] && shape[1] > stored.shape[1] * per_word - per_word &&
                   shape[1] <= stored.shape[1] * per_word,
               FileFault::layout, from_.path(), "'{}': [{}, {}] does not fit the packed words", t.name, shape[0],
               shape[1]);
    return shape;
  }

  // Stored as signed numbers; here with 2^(bits - 1) added.
  void read_zeros(const PackedLayer& layer, PackedMatrix& m) const {
    const int middle = 1 << (bits_ - 1);
    m.zeros.assign(static_cast<size_t>(m.rows * m.groups), static_cast<uint8_t>(middle));
    const TensorInfo* zeros = from_.find(layer.name + ".weight_zero_point");
    if (zeros == nullptr) return;
    if (zeros->dtype == DType::i32 && packed_) {  // packed along the rows
      const int64_t per_word = 32 / bits_;
      const Words words = read_words(from_, zeros->name, (m.rows + per_word - 1) / per_word, m.groups);
      for (int64_t o = 0; o < m.rows; ++o) {
        for (int64_t g = 0; g < m.groups; ++g) {
          m.zeros[static_cast<size_t>(o * m.groups + g)] =
              static_cast<uint8_t>(words.at(o / per_word, g) >> (bits_ * (o % per_word)) & ((1U << bits_) - 1));
        }
      }
      return;
    }
    check_file(zeros->dtype == DType::i8 && checked_numel(zeros->shape, zeros->name) == m.rows * m.groups,
               FileFault::layout, from_.path(), "'{}' must be {} 8-bit integers", zeros->name, m.rows * m.groups);
    const TensorBytes bytes = from_.read(zeros->name);
    for (size_t i = 0; i < m.zeros.size(); ++i) {
      m.zeros[i] = static_cast<uint8_t>(static_cast<int8_t>(bytes.bytes[i]) + middle);
    }
  }

  void read_levels(const PackedLayer& layer, PackedMatrix& m) const {
    m.levels.resize(static_cast<size_t>(checked_mul<int64_t>(m.rows, m.columns, layer.name)));
    if (!packed_) {
      const TensorInfo& t = need(from_, layer.name + ".weight");
      check_file(t.dtype == DType::i8, FileFault::type, from_.path(), "'{}' is {}, expected i8", t.name,
                 to_string(t.dtype));
      const TensorBytes bytes = from_.read(t.name);
      const int middle = 1 << (bits_ - 1);
      for (size_t i = 0; i < m.levels.size(); ++i) {
        m.levels[i] = static_cast<uint8_t>(static_cast<int8_t>(bytes.bytes[i]) + middle);
      }
      return;
    }
    const int64_t per_word = 32 / bits_;
    const Words words = read_words(from_, layer.name + ".weight_packed", m.rows, (m.columns + per_word - 1) / per_word);
    for (int64_t o = 0; o < m.rows; ++o) {
      for (int64_t i = 0; i < m.columns; ++i) {
        m.levels[static_cast<size_t>(o * m.columns + i)] =
            static_cast<uint8_t>(words.at(o, i / per_word) >> (bits_ * (i % per_word)) & ((1U << bits_) - 1));
      }
    }
  }

  bool packed_, one_scale_ = false;
  int bits_ = 4;
};

}  // namespace

std::unique_ptr<PackedLayout> find_packed_layout(const Checkpoint& checkpoint) {
  const Json* config = find_member(checkpoint.config(), "quantization_config");
  if (config == nullptr || !config->is_object()) return nullptr;
  const std::string where = checkpoint.path() + " (quantization_config)";
  const std::string method = get_string(*config, "quant_method", where, std::string());
  if (method == "gptq") return std::make_unique<Gptq>(checkpoint, *config);
  if (method == "awq") return std::make_unique<Awq>(checkpoint, *config);
  if (method == "compressed-tensors") {
    const std::string format = get_string(*config, "format", where, std::string());
    if (format == "pack-quantized") return std::make_unique<Compressed>(checkpoint, *config, true);
    if (format == "int-quantized") return std::make_unique<Compressed>(checkpoint, *config, false);
    fail(ErrorCode::unsupported, "{}: the format '{}' is not read; pack-quantized and int-quantized are", where,
         format);
  }
  return nullptr;  // other methods: their tensors speak for themselves
}

}  // namespace caravan::formats
