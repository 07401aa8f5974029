#include "caravan/formats/packed_layouts.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
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

struct Scheme {
  int64_t bits = 4, group_size = -1;
};

// Of all layers or of some; keys that are missing or null are `otherwise`. More than 8 bits: stored as plain weights.
Scheme read_scheme(const Json& config, const std::string& where, Scheme otherwise) {
  const Scheme s{get_int(config, "bits", where, {.min = 1, .max = 64}, otherwise.bits),
                 get_int(config, "group_size", where, {.min = -1, .max = 1 << 24}, otherwise.group_size)};
  if (s.bits > 8) return s;
  check((s.bits >= 2 && s.bits <= 4) || s.bits == 8, ErrorCode::unsupported,
        "{}: bits {} are not read; 2, 3, 4 and 8 are", where, s.bits);
  const std::string type = get_string(config, "data_type", where, std::string("int"));
  check(type.find("int") != std::string::npos && !type.starts_with("mx"), ErrorCode::unsupported,
        "{}: data_type '{}' is not read; integers are", where, type);
  const int64_t input_bits = get_int(config, "act_bits", where, {}, 16);
  check(input_bits >= 16, ErrorCode::unsupported, "{}: act_bits {} are not read; activations of 16 bits are", where,
        input_bits);
  for (const char* key : {"rotation_config", "spinquant_config"}) {
    const Json* rotation = find_member(config, key);
    check(rotation == nullptr || rotation->empty(), ErrorCode::unsupported,
          "{}: {} {} is not read: inputs would have to be rotated, too", where, key,
          rotation == nullptr ? std::string() : rotation->dump());
  }
  return s;
}

// What a config says of bits and groups. Layers may have their own (AutoRound's extra_config, GPTQModel's dynamic),
// named by patterns: a layer's tensors tell which of them it has.
class Settings {
 public:
  Settings(const Json& config, const std::string& path) : where_(path + " (quantization_config)") {
    const Scheme common = read_scheme(config, where_, {});
    add(common);
    for (const char* key : {"extra_config", "dynamic"}) {
      const Json* layers = find_member(config, key);
      if (layers == nullptr || !layers->is_object()) continue;
      for (const auto& [name, own] : layers->items()) {
        if (own.is_object()) add(read_scheme(own, fmt::format("{}: {} of '{}'", where_, key, name), common));
      }
    }
  }
  const std::string& where() const { return where_; }
  std::string bits() const { return fmt::format("{}", fmt::join(bits_, " or ")); }

  // Zeros are packed along the rows: `words` of them for each group.
  int bits_of(const std::string& layer, int64_t rows, int64_t words) const {
    const auto fits = [&](int64_t bits) {
      return checked_mul<int64_t>(words, 32, layer) == checked_mul<int64_t>(rows, bits, layer);
    };
    const auto found = std::find_if(bits_.begin(), bits_.end(), fits);
    check_file(rows > 0 && found != bits_.end(), FileFault::layout, where_,
               "'{}': {} words of zeros for {} rows, which bits {} do not make", layer, words, rows, bits());
    return static_cast<int>(*found);
  }
  void check_groups(const std::string& layer, int64_t columns, int64_t groups) const {
    const auto fits = [&](int64_t size) {
      if (size <= 0 || size >= columns) return groups == 1;
      return columns % size == 0 && columns / size == groups;
    };
    check_file(std::any_of(group_sizes_.begin(), group_sizes_.end(), fits), FileFault::layout, where_,
               "'{}': {} groups for {} columns, which group_size {} does not make", layer, groups, columns,
               fmt::join(group_sizes_, " or "));
  }

 private:
  void add(const Scheme& s) {
    if (s.bits > 8) return;
    bits_.insert(s.bits);
    group_sizes_.insert(s.group_size);
  }

  std::string where_;
  std::set<int64_t> bits_, group_sizes_;
};

// Layers of qweight, qzeros [groups, out * b / 32] and scales [groups, out].
class ZerosLayout : public NamedLayout {
 public:
  ZerosLayout(const Checkpoint& from, const Json& config)
      : NamedLayout(from, ".qweight", {".qweight", ".qzeros", ".scales", ".g_idx"}), settings_(config, from.path()) {}

  std::vector<PackedLayer> layers() const override {
    std::vector<PackedLayer> all;
    for (const std::string& name : names_) {
      const TensorInfo &words = need(from_, name + ".qweight"), &scales = need(from_, name + ".scales"),
                       &zeros = need(from_, name + ".qzeros");
      for (const TensorInfo* t : {&words, &scales, &zeros}) {
        check_file(t->shape.size() == 2, FileFault::layout, from_.path(), "'{}' is no matrix", t->name);
      }
      const int64_t rows = scales.shape[1];
      const int bits = settings_.bits_of(name, rows, zeros.shape[1]);
      all.push_back({name, {rows, columns_of(words, rows, bits)}, scales.dtype, bits});
    }
    return all;
  }

 protected:
  virtual int64_t columns_of(const TensorInfo& words, int64_t rows, int bits) const = 0;  // checks the words' shape

  // All but zeros and levels.
  PackedMatrix begin(const PackedLayer& layer) const {
    PackedMatrix m{.rows = layer.shape[0], .columns = layer.shape[1], .bits = layer.bits};
    const TensorInfo& scales = need(from_, layer.name + ".scales");
    m.groups = scales.shape[0];
    settings_.check_groups(layer.name, m.columns, m.groups);
    m.scales = transposed(read_floats(from_, scales), m.rows, m.groups);
    set_groups(m, read_indexes(from_, layer.name + ".g_idx"), layer.name);
    m.zeros.resize(static_cast<size_t>(m.rows * m.groups));
    return m;
  }

  Settings settings_;
};

class Gptq final : public ZerosLayout {
 public:
  // `shift`: what zeros are stored less.
  Gptq(const Checkpoint& from, const Json& config, uint32_t shift) : ZerosLayout(from, config), shift_(shift) {}

  PackedMatrix read(const PackedLayer& layer, bool with_levels) const override {
    PackedMatrix m = begin(layer);
    const uint32_t mask = (1U << m.bits) - 1;
    const Words zeros = read_words(from_, layer.name + ".qzeros", m.groups, m.rows * m.bits / 32);
    for (int64_t g = 0; g < m.groups; ++g) {
      for (int64_t o = 0; o < m.rows; ++o) {
        const uint32_t stored = number(o, m.bits, [&](int64_t word) { return zeros.at(g, word); });
        m.zeros[static_cast<size_t>(o * m.groups + g)] = static_cast<uint8_t>((stored + shift_) & mask);
      }
    }
    if (!with_levels) return m;
    const Words words = read_words(from_, layer.name + ".qweight", m.columns * m.bits / 32, m.rows);
    m.levels.resize(static_cast<size_t>(checked_mul<int64_t>(m.rows, m.columns, layer.name)));
    for (int64_t i = 0; i < m.columns; ++i) {
      for (int64_t o = 0; o < m.rows; ++o) {
        m.levels[static_cast<size_t>(o * m.columns + i)] =
            static_cast<uint8_t>(number(i, m.bits, [&](int64_t word) { return words.at(word, o); }));
      }
    }
    return m;
  }

 private:
  int64_t columns_of(const TensorInfo& words, int64_t rows, int bits) const override {
    expect_shape(from_, words, words.shape[0], rows);
    const int64_t all = checked_mul<int64_t>(words.shape[0], 32, words.name);
    check_file(all % bits == 0, FileFault::layout, from_.path(), "'{}': {} words are no whole numbers of {} bits",
               words.name, words.shape[0], bits);
    return all / bits;
  }

  // Number i of a run of words, the lowest bits first; one of 3 bits may begin in a word and end in the next.
  template <class Word>
  static uint32_t number(int64_t i, int bits, const Word& word) {
    const int64_t first = i * bits, shift = first % 32;
    uint32_t value = word(first / 32) >> shift;
    if (shift + bits > 32) value |= word(first / 32 + 1) << (32 - shift);
    return value & ((1U << bits) - 1);
  }

  uint32_t shift_;
};

class Awq final : public ZerosLayout {
 public:
  Awq(const Checkpoint& from, const Json& config) : ZerosLayout(from, config) {
    const std::string version = get_string(config, "version", settings_.where(), std::string("gemm"));
    check(version == "gemm" || version == "GEMM", ErrorCode::unsupported, "{}: version '{}' is not read; 'gemm' is",
          settings_.where(), version);
    check(settings_.bits() == "4", ErrorCode::unsupported, "{}: awq with bits {} is not read; with 4 it is",
          settings_.where(), settings_.bits());
  }

  PackedMatrix read(const PackedLayer& layer, bool with_levels) const override {
    PackedMatrix m = begin(layer);
    unpack(read_words(from_, layer.name + ".qzeros", m.groups, m.rows / kPerWord), m.groups, m.rows, m.zeros);
    if (!with_levels) return m;
    m.levels.resize(static_cast<size_t>(checked_mul<int64_t>(m.rows, m.columns, layer.name)));
    unpack(read_words(from_, layer.name + ".qweight", m.columns, m.rows / kPerWord), m.columns, m.rows, m.levels);
    return m;
  }

 private:
  static constexpr int64_t kPerWord = 8;

  int64_t columns_of(const TensorInfo& words, int64_t rows, int) const override {
    expect_shape(from_, words, words.shape[0], rows / kPerWord);
    return words.shape[0];
  }

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
      all.push_back({name, std::move(shape), scales.dtype, bits_});
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

// AutoRound: GPTQ's or AWQ's layout, named by the packing_format; without one its reader takes auto_gptq.
std::unique_ptr<PackedLayout> auto_round_layout(const Checkpoint& checkpoint, const Json& config,
                                                const std::string& where) {
  std::string packing = get_string(config, "packing_format", where, std::string("auto"));
  const std::string_view name = std::string_view(packing).substr(packing.starts_with("auto_round:") ? 11 : 0);
  if (name == "auto_gptq" || name == "gptq" || name == "auto") return std::make_unique<Gptq>(checkpoint, config, 1);
  if (name == "gptqmodel" || name == "auto_round") return std::make_unique<Gptq>(checkpoint, config, 0);
  if (name == "auto_awq" || name == "awq") return std::make_unique<Awq>(checkpoint, config);
  fail(ErrorCode::unsupported,
       "{}: packing_format '{}' is not read; auto_round:auto_gptq, auto_round:gptqmodel, auto_round and "
       "auto_round:auto_awq are",
       where, packing);
}

}  // namespace

std::unique_ptr<PackedLayout> find_packed_layout(const Checkpoint& checkpoint) {
  const Json* config = find_member(checkpoint.config(), "quantization_config");
  if (config == nullptr || !config->is_object()) return nullptr;
  const std::string where = checkpoint.path() + " (quantization_config)";
  const std::string method = get_string(*config, "quant_method", where, std::string());
  if (method == "gptq") {
    const std::string version = get_string(*config, "checkpoint_format", where, std::string("gptq"));
    check(version == "gptq" || version == "gptq_v2", ErrorCode::unsupported, "{}: checkpoint_format '{}' is not read",
          where, version);
    return std::make_unique<Gptq>(checkpoint, *config, version == "gptq" ? 1 : 0);
  }
  if (method.find("auto-round") != std::string::npos) return auto_round_layout(checkpoint, *config, where);
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
