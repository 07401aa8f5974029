// Opening one file or all parts of a split one, and the typed access to metadata.
// Parts are named PREFIX-00001-of-0000N.gguf; each holds split.no, split.count and split.tensors.count (of all parts).
// Only the first part's metadata counts.
#include "caravan/formats/gguf.h"

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/formats/gguf_parse.h"

namespace caravan::formats {
namespace {

constexpr int64_t kMaxParts = 99'999;  // five digits in the name

bool is_integer(GgufType t) {
  return t != GgufType::f32 && t != GgufType::f64 && t != GgufType::boolean && t != GgufType::string &&
         t != GgufType::array;
}
bool is_float(GgufType t) { return t == GgufType::f32 || t == GgufType::f64; }
bool is_string(GgufType t) { return t == GgufType::string; }
bool is_octet(GgufType t) { return t == GgufType::u8 || t == GgufType::i8; }

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

int64_t load_int(GgufType type, const std::byte* from, std::string_view where) {
  switch (type) {
    case GgufType::u8:
      return load<uint8_t>(from);
    case GgufType::i8:
      return load<int8_t>(from);
    case GgufType::u16:
      return load<uint16_t>(from);
    case GgufType::i16:
      return load<int16_t>(from);
    case GgufType::u32:
      return load<uint32_t>(from);
    case GgufType::i32:
      return load<int32_t>(from);
    case GgufType::u64:
      return checked_cast<int64_t>(load<uint64_t>(from), where);
    default:
      return load<int64_t>(from);
  }
}

double load_float(GgufType type, const std::byte* from) {
  return type == GgufType::f32 ? static_cast<double>(load<float>(from)) : load<double>(from);
}

std::string part_name(std::string_view prefix, int64_t number, int64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number, count);
}

// "dir/model-00002-of-00005.gguf" -> "dir/model"; empty where the name has another form.
std::string split_prefix(const std::string& path, int64_t number, int64_t count) {
  const std::string ending = part_name("", number, count);
  return path.ends_with(ending) && path.size() > ending.size() ? path.substr(0, path.size() - ending.size())
                                                               : std::string();
}

}  // namespace

std::string_view to_string(GgufType type) {
  constexpr std::array<std::string_view, 13> kNames = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                       "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

std::shared_ptr<const GgufFile> GgufFile::open(const std::string& path) {
  std::shared_ptr<GgufFile> file(new GgufFile(path));
  const int64_t promise = file->add_part(path, 0, 0);
  const int64_t count = file->get_int("split.count", {.min = 0, .max = kMaxParts}, 0);
  const int64_t number = file->get_int("split.no", {}, 0);
  check_file(number >= 0 && number < std::max<int64_t>(count, 1), FileFault::layout, path,
             "split.no is {}, but split.count is {}", number, count);
  if (number > 0) {  // a later part was named: begin with the first
    const std::string prefix = split_prefix(path, number + 1, count);
    check_file(!prefix.empty(), FileFault::layout, path, "part {} of {} must be named {}", number + 1, count,
               part_name("NAME", number + 1, count));
    return open(part_name(prefix, 1, count));
  }
  if (count > 1) file->open_split(count, promise);
  file->check();
  return file;
}

std::vector<std::string> GgufFile::part_paths() const {
  std::vector<std::string> paths;
  for (const auto& map : *maps_) paths.push_back(map->path());
  return paths;
}

int64_t GgufFile::add_part(const std::string& path, int64_t number, int64_t count) {
  int64_t promise = kNoPromise;
  std::shared_ptr<const MappedFile> map = MappedFile::open(path);
  GgufPart part = parse_gguf(map->bytes(), path);
  map->check();
  maps_->push_back(std::move(map));
  if (number == 0) {
    version_ = part.version;
    fields_ = std::move(part.fields);
    for (size_t i = 0; i < fields_.size(); ++i) field_index_.emplace(fields_[i].key, i);
  } else {
    GgufFile other(path);
    other.fields_ = std::move(part.fields);
    for (size_t i = 0; i < other.fields_.size(); ++i) other.field_index_.emplace(other.fields_[i].key, i);
    const int64_t no = other.get_int("split.no"), of = other.get_int("split.count");
    check_file(no == number && of == count, FileFault::layout, path, "this is part {} of {}, expected part {} of {}",
               no + 1, of, number + 1, count);
    promise = other.get_int("split.tensors.count", {}, kNoPromise);
  }
  for (GgufTensor& tensor : part.tensors) {
    check_file(tensor_index_.emplace(tensor.name, tensors_.size()).second, FileFault::duplicate, path,
               "the tensor \"{}\" is in an earlier part as well", tensor.name);
    tensors_.push_back(std::move(tensor));
  }
  return number == 0 ? get_int("split.tensors.count", {}, kNoPromise) : promise;
}

void GgufFile::open_split(int64_t count, int64_t promise) {
  const std::string prefix = split_prefix(path_, 1, count);
  check_file(!prefix.empty(), FileFault::layout, path_, "the first of {} parts must be named {}", count,
             part_name("NAME", 1, count));
  std::vector<int64_t> promises = {promise};
  for (int64_t i = 1; i < count; ++i) promises.push_back(add_part(part_name(prefix, i + 1, count), i, count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t promised = promises[static_cast<size_t>(i)];
    check_file(promised == kNoPromise || promised == static_cast<int64_t>(tensors_.size()), FileFault::layout,
               part_name(prefix, i + 1, count), "split.tensors.count is {}, the {} parts hold {} tensors", promised,
               count, tensors_.size());
  }
}

const GgufField* GgufFile::find(std::string_view key) const {
  const auto it = field_index_.find(key);
  return it == field_index_.end() ? nullptr : &fields_[it->second];
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

int64_t GgufFile::get_int(std::string_view key, IntRange range, std::optional<int64_t> otherwise) const {
  const GgufField* field = find(key);
  if (field == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, path_, "the field \"{}\" is missing", key);
    return *otherwise;
  }
  check_file(is_integer(field->type), FileFault::type, path_, "\"{}\" must be an integer, got {}", key,
             to_string(field->type));
  const int64_t value = load_int(field->type, field->bytes.data(), path_);
  check_file(value >= range.min && value <= range.max, FileFault::range, path_, "\"{}\" must lie in [{}, {}], got {}",
             key, range.min, range.max, value);
  return value;
}

double GgufFile::get_number(std::string_view key, std::optional<double> otherwise) const {
  const GgufField* field = find(key);
  if (field == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, path_, "the field \"{}\" is missing", key);
    return *otherwise;
  }
  check_file(is_integer(field->type) || is_float(field->type), FileFault::type, path_,
             "\"{}\" must be a number, got {}", key, to_string(field->type));
  const double value = is_float(field->type) ? load_float(field->type, field->bytes.data())
                                             : static_cast<double>(load_int(field->type, field->bytes.data(), path_));
  check_file(std::isfinite(value), FileFault::range, path_, "\"{}\" must be finite, got {}", key, value);
  return value;
}

bool GgufFile::get_bool(std::string_view key, std::optional<bool> otherwise) const {
  const GgufField* field = find(key);
  if (field == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, path_, "the field \"{}\" is missing", key);
    return *otherwise;
  }
  check_file(field->type == GgufType::boolean, FileFault::type, path_, "\"{}\" must be a bool, got {}", key,
             to_string(field->type));
  return field->bytes[0] != std::byte{0};
}

std::string GgufFile::get_string(std::string_view key, std::optional<std::string> otherwise) const {
  const GgufField* field = find(key);
  if (field == nullptr) {
    check_file(otherwise.has_value(), FileFault::range, path_, "the field \"{}\" is missing", key);
    return *otherwise;
  }
  check_file(field->type == GgufType::string, FileFault::type, path_, "\"{}\" must be a string, got {}", key,
             to_string(field->type));
  return {reinterpret_cast<const char*>(field->bytes.data()) + 8, field->bytes.size() - 8};
}

const GgufField* GgufFile::find_array(std::string_view key, std::string_view wanted, bool (*accepts)(GgufType)) const {
  const GgufField* field = find(key);
  if (field == nullptr) return nullptr;
  check_file(field->type == GgufType::array && accepts(field->element), FileFault::type, path_,
             "\"{}\" must be an array of {}, got {}{}", key, wanted,
             field->type == GgufType::array ? "an array of " : "", to_string(field->element));
  return field;
}

std::vector<std::string> GgufFile::get_strings(std::string_view key) const {
  std::vector<std::string> result;
  const GgufField* field = find_array(key, "strings", is_string);
  if (field == nullptr) return result;
  result.reserve(field->count);  // at least 8 bytes of the file each: measured when it was parsed
  std::span<const std::byte> left = field->bytes;
  for (uint64_t i = 0; i < field->count; ++i) {  // measured again: somebody may have written to the mapped file since
    const uint64_t length = left.size() < 8 ? 0 : load<uint64_t>(left.data());
    check_file(left.size() >= 8 && length <= left.size() - 8, FileFault::truncated, path_,
               "\"{}\" changed while the file was in use", key);
    result.emplace_back(reinterpret_cast<const char*>(left.data()) + 8, length);
    left = left.subspan(8 + length);
  }
  return result;
}

std::vector<float> GgufFile::get_floats(std::string_view key) const {
  const GgufField* field = find_array(key, "floats", is_float);
  std::vector<float> result(field == nullptr ? 0 : field->count);
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] =
        static_cast<float>(load_float(field->element, field->bytes.data() + i * gguf_type_size(field->element)));
  }
  return result;
}

std::vector<int64_t> GgufFile::get_ints(std::string_view key) const {
  const GgufField* field = find_array(key, "integers", is_integer);
  std::vector<int64_t> result(field == nullptr ? 0 : field->count);
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = load_int(field->element, field->bytes.data() + i * gguf_type_size(field->element), path_);
  }
  return result;
}

std::string GgufFile::get_bytes(std::string_view key) const {
  const GgufField* field = find_array(key, "u8", is_octet);
  if (field == nullptr) return {};
  return {reinterpret_cast<const char*>(field->bytes.data()), field->bytes.size()};
}

void GgufFile::check() const {
  for (const auto& map : *maps_) map->check();
}

std::shared_ptr<const void> GgufFile::owner() const { return maps_; }

}  // namespace caravan::formats
