// One pass over the bytes with a cursor that knows how many are left. Limits are ggml's where it has them: names below
// 64 bytes, at most 4 dimensions, offsets equal to the running padded sum.
#include "caravan/formats/gguf_parse.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_set>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/base/utf8.h"

namespace caravan::formats {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF values are read in place");

constexpr uint64_t kMaxEntries = 65'536;  // tensors or fields; large models have some thousand and some hundred
constexpr uint64_t kMaxNameBytes = 63;
constexpr uint32_t kMaxDims = 4;
constexpr uint32_t kMaxAlignment = 1u << 24;
constexpr uint64_t kMinFieldBytes = 8 + 4 + 1;  // key length, type, the smallest value
constexpr uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;

struct TypeNumber {
  DType dtype;
  uint32_t number;
};
constexpr std::array kTensorTypes = std::to_array<TypeNumber>({
    {DType::f32, 0},   {DType::f16, 1},   {DType::q4_0, 2},    {DType::q4_1, 3},    {DType::q5_0, 6},
    {DType::q5_1, 7},  {DType::q8_0, 8},  {DType::q2_k, 10},   {DType::q3_k, 11},   {DType::q4_k, 12},
    {DType::q5_k, 13}, {DType::q6_k, 14}, {DType::iq4_nl, 20}, {DType::iq4_xs, 23}, {DType::i8, 24},
    {DType::i16, 25},  {DType::i32, 26},  {DType::i64, 27},    {DType::f64, 28},    {DType::bf16, 30},
});
// Types that ggml has and Caravan does not read.
constexpr std::array kOtherTypes = std::to_array<std::pair<uint32_t, std::string_view>>({
    {9, "q8_1"},
    {15, "q8_k"},
    {16, "iq2_xxs"},
    {17, "iq2_xs"},
    {18, "iq3_xxs"},
    {19, "iq1_s"},
    {21, "iq3_s"},
    {22, "iq2_s"},
    {29, "iq1_m"},
    {34, "tq1_0"},
    {35, "tq2_0"},
    {39, "mxfp4"},
    {40, "nvfp4"},
    {41, "q1_0"},
});

class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string_view where) : bytes_(bytes), where_(where) {}
  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(uint64_t n, std::string_view what) {
    check_file(n <= left(), FileFault::truncated, where_, "{} at byte {}: {} bytes wanted, {} left", what, position_, n,
               left());
    const auto taken = bytes_.subspan(position_, static_cast<size_t>(n));
    position_ += taken.size();
    return taken;
  }
  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  std::string_view string(std::string_view what) {
    const auto length = number<uint64_t>(what);
    const auto taken = take(length, what);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view where_;
  size_t position_ = 0;
};

bool is_utf8(std::string_view s) { return find_invalid_utf8(s) == std::string_view::npos; }

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string_view where) : bytes_(bytes), in_(bytes, where), where_(where) {}

  GgufPart parse() {
    parse_header();
    for (uint64_t i = 0; i < field_count_; ++i) parse_field();
    for (uint64_t i = 0; i < tensor_count_; ++i) parse_tensor_info();
    place_tensors();
    return std::move(part_);
  }

 private:
  void parse_header() {
    const auto magic = in_.take(4, "magic");
    check_file(std::memcmp(magic.data(), "GGUF", 4) == 0, FileFault::magic, where_,
               "not a GGUF file: it does not begin with GGUF");
    part_.version = in_.number<uint32_t>("version");
    check_file(part_.version == 0 || (part_.version & 0xffff) != 0, FileFault::version, where_,
               "a big-endian GGUF (version field {:#x}); only little-endian files are read: convert it with "
               "gguf_convert_endian.py",
               part_.version);
    check_file(part_.version == 2 || part_.version == 3, FileFault::version, where_,
               "GGUF version {}; versions 2 and 3 are read", part_.version);
    tensor_count_ = in_.number<uint64_t>("number of tensors");
    field_count_ = in_.number<uint64_t>("number of fields");
    check_count(tensor_count_, kMinTensorBytes, "tensors");
    check_count(field_count_, kMinFieldBytes, "fields");
  }

  void check_count(uint64_t count, uint64_t min_bytes, std::string_view what) const {
    check_file(count <= kMaxEntries, FileFault::limit, where_, "{} {}; at most {} are read", count, what, kMaxEntries);
    check_file(checked_mul<uint64_t>(count, min_bytes, where_) <= in_.left(), FileFault::truncated, where_,
               "{} {} do not fit in the {} bytes left", count, what, in_.left());
  }

  GgufType parse_type(std::string_view key) {
    const auto type = in_.number<uint32_t>("value type");
    check_file(type <= static_cast<uint32_t>(GgufType::f64), FileFault::type, where_,
               "field \"{}\": unknown value type {}", key, type);
    return static_cast<GgufType>(type);
  }

  void parse_field() {
    GgufField field;
    field.key = in_.string("key");
    check_file(!field.key.empty(), FileFault::range, where_, "a field at byte {} has an empty key", in_.position());
    check_file(is_utf8(field.key), FileFault::utf8, where_, "a key that ends at byte {} is not UTF-8", in_.position());
    check_file(keys_.insert(field.key).second, FileFault::duplicate, where_, "the field \"{}\" appears twice",
               field.key);
    field.type = field.element = parse_type(field.key);
    if (field.type == GgufType::array) {
      field.element = parse_type(field.key);
      check_file(field.element != GgufType::array, FileFault::type, where_,
                 "field \"{}\": arrays of arrays are not part of GGUF", field.key);
      field.count = in_.number<uint64_t>("array length");
    }
    field.bytes = field.element == GgufType::string ? take_strings(field.count) : take_scalars(field);
    if (field.key == "general.alignment") set_alignment(field);
    part_.fields.push_back(field);
  }

  std::span<const std::byte> take_strings(uint64_t count) {
    const size_t begin = in_.position();
    for (uint64_t i = 0; i < count; ++i) in_.string("string");
    return bytes_.subspan(begin, in_.position() - begin);
  }

  std::span<const std::byte> take_scalars(const GgufField& field) {
    const auto n = checked_mul<uint64_t>(field.count, gguf_type_size(field.element), where_);
    const auto taken = in_.take(n, field.key);
    if (field.element == GgufType::boolean) {
      const auto bad = std::find_if(taken.begin(), taken.end(), [](std::byte b) { return b > std::byte{1}; });
      check_file(bad == taken.end(), FileFault::range, where_, "field \"{}\": a bool must be 0 or 1", field.key);
    }
    return taken;
  }

  void set_alignment(const GgufField& field) {
    check_file(field.type == GgufType::u32, FileFault::type, where_, "general.alignment must be u32, got {}",
               to_string(field.type));
    std::memcpy(&alignment_, field.bytes.data(), sizeof alignment_);
    check_file(std::has_single_bit(alignment_) && alignment_ <= kMaxAlignment, FileFault::range, where_,
               "general.alignment must be a power of two up to {}, got {}", kMaxAlignment, alignment_);
  }

  void parse_tensor_info() {
    GgufTensor t;
    t.name = in_.string("tensor name");
    check_file(t.name.size() <= kMaxNameBytes, FileFault::limit, where_,
               "a tensor name of {} bytes; at most {} are allowed", t.name.size(), kMaxNameBytes);
    check_file(!t.name.empty(), FileFault::range, where_, "a tensor info at byte {} has an empty name", in_.position());
    check_file(is_utf8(t.name), FileFault::utf8, where_, "a tensor name that ends at byte {} is not UTF-8",
               in_.position());
    check_file(names_.insert(t.name).second, FileFault::duplicate, where_, "the tensor \"{}\" appears twice", t.name);
    const auto dims = in_.number<uint32_t>("number of dimensions");
    check_file(dims <= kMaxDims, FileFault::range, where_, "tensor \"{}\": {} dimensions; at most {} are allowed",
               t.name, dims, kMaxDims);
    t.shape.resize(dims);
    for (uint32_t i = 0; i < dims; ++i) {
      const auto d = in_.number<int64_t>("dimension");
      check_file(d >= 0, FileFault::range, where_, "tensor \"{}\": dimension {}", t.name, d);
      t.shape[dims - 1 - i] = d;
    }
    t.dtype = parse_tensor_type(t.name);
    offsets_.push_back(in_.number<uint64_t>("tensor offset"));
    sizes_.push_back(tensor_bytes(t.dtype, t.shape, where_));
    part_.tensors.push_back(std::move(t));
  }

  DType parse_tensor_type(std::string_view name) {
    const auto number = in_.number<uint32_t>("tensor type");
    for (const TypeNumber& known : kTensorTypes) {
      if (known.number == number) return known.dtype;
    }
    for (const auto& [other, type_name] : kOtherTypes) {
      check_file(other != number, FileFault::unsupported, where_,
                 "tensor \"{}\" has the type {}, which is not supported", name, type_name);
    }
    // Numbers are given out one after another: those beyond the last belong to a newer ggml.
    check_file(number <= kOtherTypes.back().first, FileFault::unsupported, where_,
               "tensor \"{}\": type {} is not known", name, number);
    fail_file(FileFault::type, where_, "tensor \"{}\": unknown tensor type {}", name, number);
  }

  // Offsets count from the aligned end of the infos; each must follow the tensor before it.
  void place_tensors() {
    const auto data_begin = align(checked_cast<int64_t>(in_.position(), where_));
    int64_t sum = 0;
    for (size_t i = 0; i < offsets_.size(); ++i) {
      check_file(offsets_[i] == static_cast<uint64_t>(sum), FileFault::layout, where_,
                 "tensor \"{}\": its data is said to begin at {}, the tensors before it end at {}",
                 part_.tensors[i].name, offsets_[i], sum);
      sum = checked_add<int64_t>(sum, align(sizes_[i]), where_);
    }
    checked_add<int64_t>(data_begin, sum, where_);  // so that no sum below overflows
    for (size_t i = 0; i < offsets_.size(); ++i) {
      if (sizes_[i] == 0) continue;
      const int64_t begin = data_begin + static_cast<int64_t>(offsets_[i]);
      const auto file_size = static_cast<int64_t>(bytes_.size());
      check_file(begin <= file_size && sizes_[i] <= file_size - begin, FileFault::truncated, where_,
                 "tensor \"{}\": {} bytes wanted at byte {}, the file has {}", part_.tensors[i].name, sizes_[i], begin,
                 file_size);
      part_.tensors[i].bytes = bytes_.subspan(static_cast<size_t>(begin), static_cast<size_t>(sizes_[i]));
    }
  }

  int64_t align(int64_t n) const {
    return checked_add<int64_t>(n, static_cast<int64_t>(alignment_) - 1, where_) &
           ~(static_cast<int64_t>(alignment_) - 1);
  }

  std::span<const std::byte> bytes_;
  Cursor in_;
  std::string_view where_;
  uint64_t tensor_count_ = 0, field_count_ = 0;
  uint32_t alignment_ = 32;
  std::unordered_set<std::string_view> keys_, names_;
  std::vector<uint64_t> offsets_;
  std::vector<int64_t> sizes_;
  GgufPart part_;
};

}  // namespace

size_t gguf_type_size(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      return 0;
  }
  return 0;
}

int gguf_tensor_type(DType dtype) {
  for (const TypeNumber& known : kTensorTypes) {
    if (known.dtype == dtype) return static_cast<int>(known.number);
  }
  return -1;
}

GgufPart parse_gguf(std::span<const std::byte> bytes, std::string_view where) { return Parser(bytes, where).parse(); }

}  // namespace caravan::formats
