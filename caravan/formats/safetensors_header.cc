// Parses the header from JSON events (no document is built: a hostile header of 100 MB would cost gigabytes), and makes
// the header of files that are written.
#include "caravan/formats/safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "caravan/base/checked.h"
#include "caravan/base/json.h"
#include "caravan/base/utf8.h"

namespace caravan::formats {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are used as they lie in the file");

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxTensors = 1'000'000, kMaxRank = 16, kMaxNameBytes = 4096;
constexpr int kMaxDepth = 8;

constexpr std::string_view kUnsupported[] = {"F4",          "F6_E2M3",     "F6_E3M2", "F8_E8M0",
                                             "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};

// The format's name of a type is ours in capitals: F32, BOOL, F8_E4M3. Empty for the block types, which it cannot hold.
std::string stored_name(DType dtype) {
  if (is_block_quantized(dtype)) return {};
  std::string name(to_string(dtype));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  return name;
}

// The events of a header, checked as they come. Depth 1 holds names, depth 2 the fields of one tensor (or of
// __metadata__), depth 3 a shape or the offsets; what an unknown field holds is skipped.
class HeaderEvents {
 public:
  HeaderEvents(std::string_view path, SafetensorsHeader& header) : path_(path), header_(header) {}

  bool null() { return scalar(Kind::null); }
  bool boolean(bool) { return scalar(Kind::other); }
  bool number_integer(int64_t) { return scalar(Kind::other); }  // a negative one: "-0" too
  bool number_float(double, const std::string&) { return scalar(Kind::other); }
  bool binary(Json::binary_t&) { return false; }
  bool number_unsigned(uint64_t value) {
    if (depth_ != 3 || field_ == Field::other) return scalar(Kind::other);
    if (field_ == Field::offsets) return add_offset(value);
    check_file(value <= INT64_MAX, FileFault::overflow, path_, "tensor '{}': dimension {} is too large", name_, value);
    check_file(entry_.tensor.shape.size() < kMaxRank, FileFault::limit, path_,
               "tensor '{}' has more than {} dimensions", name_, kMaxRank);
    entry_.tensor.shape.push_back(static_cast<int64_t>(value));
    return true;
  }
  bool string(std::string& value) {
    if (depth_ == 2 && in_metadata_) {
      check_file(header_.metadata.emplace(key_, std::move(value)).second, FileFault::duplicate, path_,
                 "__metadata__ has the key '{}' twice", key_);
      return true;
    }
    if (depth_ != 2 || field_ != Field::dtype) return scalar(Kind::other);
    entry_.tensor.dtype = dtype_of(value);
    return true;
  }

  bool start_object(size_t) {
    if (depth_ == 1) {
      entry_ = {};
      given_ = 0;
      offsets_ = 0;
      field_ = Field::other;
    } else if (depth_ > 1 && (in_metadata_ || field_ != Field::other)) {
      fail_value("an object");
    }
    ++depth_;
    return true;
  }
  bool start_array(size_t) {
    check_file(depth_ > 0, FileFault::json, path_, "the header must be a JSON object, it is an array");
    const bool is_list = depth_ == 2 && !in_metadata_ && field_ != Field::dtype;
    if (!is_list && (depth_ == 1 || in_metadata_ || field_ != Field::other)) fail_value("an array");
    ++depth_;
    return true;
  }
  bool end_array() {
    --depth_;
    return true;
  }
  bool end_object() {
    if (--depth_ == 1 && !std::exchange(in_metadata_, false)) finish_tensor();
    return true;
  }
  bool key(std::string& key) {
    if (depth_ == 1) return start_entry(key);
    if (depth_ == 2) start_field(key);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) { fail_json(path_, error); }

 private:
  enum class Field : uint8_t { dtype, shape, offsets, other };
  enum class Kind : uint8_t { null, other };

  bool start_entry(std::string& name) {
    in_metadata_ = name == "__metadata__";
    name_ = std::move(name);
    check_file(!in_metadata_ || !std::exchange(has_metadata_, true), FileFault::duplicate, path_,
               "two keys __metadata__");
    check_file(name_.size() <= kMaxNameBytes, FileFault::limit, path_,
               "a tensor name has {} bytes, at most {} are read", name_.size(), kMaxNameBytes);
    check_file(header_.entries.size() < kMaxTensors, FileFault::limit, path_, "more than {} tensors", kMaxTensors);
    return true;
  }
  void start_field(std::string& key) {
    key_ = std::move(key);
    if (in_metadata_) return;
    field_ = key_ == "dtype"          ? Field::dtype
             : key_ == "shape"        ? Field::shape
             : key_ == "data_offsets" ? Field::offsets
                                      : Field::other;
    if (field_ == Field::other) return;
    const unsigned bit = 1u << static_cast<unsigned>(field_);
    check_file((given_ & bit) == 0, FileFault::duplicate, path_, "tensor '{}' has \"{}\" twice", name_, key_);
    given_ |= bit;
  }
  // A value that is not one of the expected ones.
  bool scalar(Kind kind) {
    check_file(depth_ > 0, FileFault::json, path_, "the header must be a JSON object");
    if (depth_ == 1 && in_metadata_ && kind == Kind::null) {
      in_metadata_ = false;
      return true;
    }
    if (depth_ == 1 || in_metadata_ || field_ != Field::other) fail_value("a value of another kind");
    return true;
  }
  [[noreturn]] void fail_value(std::string_view got) const {
    if (in_metadata_) fail_file(FileFault::type, path_, "__metadata__ must map strings to strings, got {}", got);
    if (depth_ == 1) fail_file(FileFault::type, path_, "tensor '{}' must be an object, got {}", name_, got);
    fail_file(FileFault::type, path_, "tensor '{}': \"{}\" must be {}, got {}", name_, key_,
              field_ == Field::dtype ? "a string" : "a list of non-negative integers", got);
  }
  bool add_offset(uint64_t value) {
    check_file(offsets_ < 2, FileFault::type, path_, "tensor '{}': data_offsets must be two numbers", name_);
    (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }
  DType dtype_of(std::string_view name) const {
    const std::optional<DType> dtype = find_dtype(name);
    if (dtype && stored_name(*dtype) == name) return *dtype;
    const bool known = std::find(std::begin(kUnsupported), std::end(kUnsupported), name) != std::end(kUnsupported);
    check_file(!known, FileFault::unsupported, path_, "tensor '{}' has the dtype {}, which is not supported", name_,
               name);
    fail_file(FileFault::type, path_, "tensor '{}' has the unknown dtype '{}'", name_, name.substr(0, 80));
  }
  void finish_tensor() {
    check_file(given_ == 7, FileFault::type, path_, "tensor '{}' lacks {}", name_,
               (given_ & 1) == 0   ? "\"dtype\""
               : (given_ & 2) == 0 ? "\"shape\""
                                   : "\"data_offsets\"");
    check_file(offsets_ == 2, FileFault::type, path_, "tensor '{}': data_offsets must be two numbers", name_);
    entry_.tensor.name = std::move(name_);
    header_.entries.push_back(std::move(entry_));
  }

  std::string_view path_;
  SafetensorsHeader& header_;
  int depth_ = 0;
  bool in_metadata_ = false, has_metadata_ = false;
  std::string name_, key_;  // of the tensor; of its field
  Field field_ = Field::other;
  unsigned given_ = 0;  // bit i: Field i was read
  int offsets_ = 0;
  SafetensorsEntry entry_;
};

// Depth of a JSON text without parsing it: brackets outside strings.
void check_depth(std::string_view json, std::string_view path) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      check_file(++depth <= kMaxDepth, FileFault::limit, path, "the header is nested deeper than {} levels", kMaxDepth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

void refuse_duplicate_names(const std::vector<SafetensorsEntry>& entries, std::string_view path) {
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const SafetensorsEntry& e : entries) names.push_back(e.tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) fail_file(FileFault::duplicate, path, "tensor '{}' is in the header twice", *twice);
}

// No hole, no overlap: each tensor starts where the one before ended. Returns the end of the last.
uint64_t check_layout(const std::vector<SafetensorsEntry>& entries, std::string_view path) {
  uint64_t expected = 0;
  for (const auto& [tensor, begin, end] : entries) {
    check_file(begin == expected && end >= begin, FileFault::layout, path,
               "tensor '{}' lies at [{}, {}), it must begin at {} where the one before ends", tensor.name, begin, end,
               expected);
    const int64_t bytes = tensor_bytes(tensor.dtype, tensor.shape, path);
    check_file(end - begin == static_cast<uint64_t>(bytes), FileFault::layout, path,
               "tensor '{}' has {} bytes by its offsets and {} by its shape", tensor.name, end - begin, bytes);
    expected = end;
  }
  return expected;
}

// The BOM that the JSON parser would skip, and other starts that are no object.
void check_start(std::string_view json, std::string_view path) {
  const size_t first = json.find_first_not_of(" \t\r\n");
  check_file(first != std::string_view::npos, FileFault::json, path, "the header is empty");
  check_file(json[first] == '{' || json[first] == '[', FileFault::json, path, "the header does not begin with '{{'");
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, std::string_view path) {
  check_file(file.size() >= 8, FileFault::truncated, path, "{} bytes: too small for a safetensors header", file.size());
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  check_file(length <= kMaxHeaderBytes, FileFault::limit, path, "a header of {} bytes, at most {} are allowed", length,
             kMaxHeaderBytes);
  check_file(length <= file.size() - 8, FileFault::truncated, path, "a header of {} bytes, the file has {} left",
             length, file.size() - 8);
  const std::string_view json(reinterpret_cast<const char*>(file.data()) + 8, length);
  check_json_text(json, path);
  check_start(json, path);
  check_depth(json, path);

  SafetensorsHeader header;
  header.data_begin = 8 + length;
  HeaderEvents events(path, header);
  Json::sax_parse(json.begin(), json.end(), &events);
  refuse_duplicate_names(header.entries, path);
  std::sort(header.entries.begin(), header.entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  const uint64_t end = check_layout(header.entries, path);
  check_file(end == file.size() - header.data_begin, FileFault::layout, path,
             "the tensors have {} bytes, the file has {} after its header", end, file.size() - header.data_begin);
  return header;
}

std::string make_safetensors_header(std::span<const TensorInfo> tensors,
                                    const std::map<std::string, std::string>& metadata) {
  check(tensors.size() <= kMaxTensors, ErrorCode::unsupported, "{} tensors in one file, at most {} are written",
        tensors.size(), kMaxTensors);
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":" + dump_json(Json(metadata), -1);
  int64_t at = 0;
  for (const TensorInfo& t : tensors) {
    check(t.name.size() <= kMaxNameBytes && find_invalid_utf8(t.name) == std::string::npos && t.name != "__metadata__",
          ErrorCode::invalid_argument, "'{}' cannot be the name of a tensor in a safetensors file",
          t.name.substr(0, 200));
    check(t.shape.size() <= kMaxRank, ErrorCode::unsupported, "tensor '{}' has more than {} dimensions", t.name,
          kMaxRank);
    const int64_t end = checked_add<int64_t>(at, tensor_bytes(t.dtype, t.shape, t.name), t.name);
    const std::string name = stored_name(t.dtype);
    check(!name.empty(), ErrorCode::unsupported, "safetensors files cannot hold {} (tensor '{}')", to_string(t.dtype),
          t.name);
    json += json.size() > 1 ? "," : "";
    json += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", dump_json(Json(t.name), -1),
                        name, fmt::join(t.shape, ","), at, end);
    at = end;
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  check(json.size() <= kMaxHeaderBytes, ErrorCode::unsupported,
        "a safetensors header of {} bytes, at most {} are allowed", json.size(), kMaxHeaderBytes);
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json;
}

bool safetensors_holds(DType dtype) { return !is_block_quantized(dtype); }

}  // namespace caravan::formats
