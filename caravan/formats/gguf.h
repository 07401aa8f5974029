// GGUF, llama.cpp's single-file format, versions 2 and 3, little-endian: typed metadata and tensors in a mapped file.
//
//   auto file = GgufFile::open("model.gguf");             // or any part of a split, model-00001-of-00003.gguf
//   int64_t layers = file->get_int("llama.block_count", {.min = 1, .max = 512});
//   for (const GgufTensor& t : file->tensors()) use(t.name, t.shape, t.bytes);
//
// Layout: "GGUF", u32 version, u64 tensors, u64 fields; fields (key, type, value); tensor infos (name, dimensions
// innermost first, type, offset); padding to general.alignment; tensor data, each padded. Strings are u64 length +
// bytes. Names here are GGUF's own; gguf_checkpoint.h gives Hugging Face's view. Source: ggml's docs/gguf.md and
// gguf.cpp. Left out: version 1, big-endian files, tensor types without a DType (refused with `unsupported`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "caravan/base/dtype.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"

namespace caravan::formats {

enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
std::string_view to_string(GgufType type);

struct GgufField {
  std::string_view key;
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;   // of an array; otherwise the type itself
  uint64_t count = 1;                // elements of an array
  std::span<const std::byte> bytes;  // the encoded value; an array's elements without their header
};

struct GgufTensor {
  std::string_view name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;  // row-major, outermost first (the file has it reversed)
  std::span<const std::byte> bytes;
};

class GgufFile {
 public:
  // Every rule of the format is checked here; values are checked for type and range when they are asked for. The parts
  // of a split file are found by name beside the given one. Throws corrupt_file, unsupported, not_found.
  static std::shared_ptr<const GgufFile> open(const std::string& path);

  const std::vector<GgufField>& fields() const { return fields_; }  // of the first part, in file order
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufField* find(std::string_view key) const;  // nullptr where there is none
  const GgufTensor* find_tensor(std::string_view name) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }

  // A value of the given kind. A missing key gives the default, or an error (range) where there is none; another type
  // is an error (type). Integers may be stored in any integer type; numbers in any integer or float type.
  int64_t get_int(std::string_view key, IntRange range = {}, std::optional<int64_t> otherwise = std::nullopt) const;
  double get_number(std::string_view key, std::optional<double> otherwise = std::nullopt) const;  // finite
  bool get_bool(std::string_view key, std::optional<bool> otherwise = std::nullopt) const;
  std::string get_string(std::string_view key, std::optional<std::string> otherwise = std::nullopt) const;

  // The elements of an array; empty where the key is missing.
  std::vector<std::string> get_strings(std::string_view key) const;
  std::vector<float> get_floats(std::string_view key) const;  // stored as f32 or f64
  std::vector<int64_t> get_ints(std::string_view key) const;  // stored in any integer type
  std::string get_bytes(std::string_view key) const;          // stored as u8 or i8

  uint32_t version() const { return version_; }
  const std::string& path() const { return path_; }
  std::vector<std::string> part_paths() const;  // of all parts, in their order
  void check() const;                           // throws if a part was truncated since it was opened
  std::shared_ptr<const void> owner() const;    // keeps the bytes of every tensor alive

 private:
  explicit GgufFile(std::string path) : path_(std::move(path)) {}
  // Each part promises how many tensors all parts hold (kNoPromise where it does not say): returned, and checked once
  // all parts are open.
  static constexpr int64_t kNoPromise = -1;
  int64_t add_part(const std::string& path, int64_t number, int64_t count);
  void open_split(int64_t count, int64_t promise);
  const GgufField* find_array(std::string_view key, std::string_view wanted, bool (*accepts)(GgufType)) const;

  using Maps = std::vector<std::shared_ptr<const MappedFile>>;
  std::string path_;
  std::shared_ptr<Maps> maps_ = std::make_shared<Maps>();
  uint32_t version_ = 0;
  std::vector<GgufField> fields_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> field_index_, tensor_index_;
};

}  // namespace caravan::formats
