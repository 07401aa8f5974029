// Walks the maps of a Flax file.
#include "caravan/formats/flax_tree.h"

#include <array>
#include <optional>
#include <set>

#include "caravan/base/checked.h"
#include "caravan/base/dtype_names.h"
#include "caravan/base/utf8.h"
#include "caravan/formats/msgpack.h"

namespace caravan::formats {
namespace {

using Kind = MsgpackValue::Kind;

constexpr int kArrayExtension = 1, kScalarExtension = 3;
constexpr size_t kMaxDepth = 64, kMaxRank = 16, kMaxArrays = 1'000'000;
constexpr std::string_view kChunked = "__msgpack_chunked_array__";

class TreeParser {
 public:
  TreeParser(std::span<const std::byte> file, std::string_view file_path)
      : reader_(file, file_path), file_path_(file_path) {}

  std::vector<FlaxArray> parse() {
    const MsgpackValue root = reader_.next();
    check_file(root.kind == Kind::map, FileFault::type, file_path_,
               "a Flax checkpoint is a map of names, this is another value");
    map(root.count);
    check_file(reader_.at_end(), FileFault::layout, file_path_, "bytes follow the end of the map at offset {}",
               reader_.offset());
    return std::move(arrays_);
  }

 private:
  // Depth is bounded by kMaxDepth, so recursion is too.
  void map(uint64_t pairs) {
    check_file(path_.size() < kMaxDepth, FileFault::limit, file_path_, "maps are nested deeper than {}", kMaxDepth);
    std::set<std::string_view> keys;
    for (uint64_t i = 0; i < pairs; ++i) {
      const std::string_view key = text_key();
      check_file(keys.insert(key).second, FileFault::duplicate, file_path_, "'{}' is in the map '{}' twice", key,
                 here());
      if (key == kChunked && i == 0) return chunked_array(pairs);
      path_.emplace_back(key);
      value();
      path_.pop_back();
    }
  }

  void array(uint64_t elements) {
    check_file(path_.size() < kMaxDepth, FileFault::limit, file_path_, "arrays are nested deeper than {}", kMaxDepth);
    for (uint64_t i = 0; i < elements; ++i) {
      path_.push_back(std::to_string(i));
      value();
      path_.pop_back();
    }
  }

  void value() {
    const MsgpackValue v = reader_.next();
    if (v.kind == Kind::map) return map(v.count);
    if (v.kind == Kind::array) return array(v.count);
    if (v.kind == Kind::extension && (v.type == kArrayExtension || v.type == kScalarExtension)) add(unpack(v.bytes));
    // A step counter or a name in a train state: no parameter.
  }

  std::string_view text_key() {
    const MsgpackValue key = reader_.next();
    check_file(key.kind == Kind::text, FileFault::type, file_path_, "a key of the map '{}' is no text", here());
    check_file(find_invalid_utf8(key.text()) == std::string_view::npos, FileFault::utf8, file_path_,
               "a key of the map '{}' is not UTF-8", here());
    return key.text();
  }

  void add(FlaxArray array) {
    check_file(arrays_.size() < kMaxArrays, FileFault::limit, file_path_, "more than {} arrays", kMaxArrays);
    array.path = path_;
    arrays_.push_back(std::move(array));
  }

  // (shape, dtype name, bytes)
  FlaxArray unpack(std::span<const std::byte> bytes) {
    MsgpackReader inner(bytes, file_path_);
    FlaxArray array;
    const MsgpackValue tuple = inner.next();
    check_file(tuple.kind == Kind::array && tuple.count == 3, FileFault::type, file_path_,
               "'{}' is no (shape, dtype, bytes)", here());
    const MsgpackValue shape = inner.next();
    check_file(shape.kind == Kind::array, FileFault::type, file_path_, "the shape of '{}' is no list", here());
    check_file(shape.count <= kMaxRank, FileFault::limit, file_path_, "'{}' has {} dimensions", here(), shape.count);
    for (uint64_t i = 0; i < shape.count; ++i) array.shape.push_back(dimension(inner.next()));
    array.dtype = dtype_of(inner.next());
    const MsgpackValue data = inner.next();
    check_file(data.kind == Kind::binary || data.kind == Kind::text, FileFault::type, file_path_,
               "the data of '{}' are no bytes", here());
    check_file(inner.at_end(), FileFault::layout, file_path_, "'{}' has more than a shape, a dtype and bytes", here());
    const int64_t expected = tensor_bytes(array.dtype, array.shape, file_path_);
    check_file(data.bytes.size() == static_cast<uint64_t>(expected), FileFault::layout, file_path_,
               "'{}' has {} bytes, its shape asks for {}", here(), data.bytes.size(), expected);
    array.chunks.push_back(data.bytes);
    return array;
  }

  int64_t dimension(const MsgpackValue& v) const {
    check_file(v.kind == Kind::integer, FileFault::type, file_path_, "a dimension of '{}' is no integer", here());
    check_file(v.integer >= 0, FileFault::range, file_path_, "a dimension of '{}' is {}", here(), v.integer);
    return v.integer;
  }

  DType dtype_of(const MsgpackValue& v) const {
    check_file(v.kind == Kind::text || v.kind == Kind::binary, FileFault::type, file_path_,
               "the dtype of '{}' is no name", here());
    if (const auto dtype = find_numpy_dtype(v.text())) return *dtype;
    const bool printable = find_invalid_utf8(v.text()) == std::string_view::npos;
    fail_file(FileFault::unsupported, file_path_, "'{}' has the dtype '{}', which is not supported", here(),
              printable ? v.text().substr(0, 40) : "?");
  }

  // {"__msgpack_chunked_array__": true, "shape": {"0": n, ...}, "chunks": {"0": array, ...}}; its first key was read.
  void chunked_array(uint64_t pairs) {
    reader_.next();  // true
    FlaxArray whole;
    bool has_shape = false, has_chunks = false;
    for (uint64_t i = 1; i < pairs; ++i) {
      const std::string_view key = text_key();
      const bool is_shape = key == "shape";
      check_file(is_shape || key == "chunks", FileFault::type, file_path_,
                 "'{}' is no chunked array: it has the key '{}'", here(), key);
      check_file(!std::exchange(is_shape ? has_shape : has_chunks, true), FileFault::duplicate, file_path_,
                 "'{}' has '{}' twice", here(), key);
      const MsgpackValue list = reader_.next();
      check_file(list.kind == Kind::map, FileFault::type, file_path_, "'{}' of '{}' is no map", key, here());
      check_file(!is_shape || list.count <= kMaxRank, FileFault::limit, file_path_, "'{}' has {} dimensions", here(),
                 list.count);
      for (uint64_t n = 0; n < list.count; ++n) {
        check_file(text_key() == std::to_string(n), FileFault::layout, file_path_, "the parts of '{}' are not in order",
                   here());
        if (is_shape) {
          whole.shape.push_back(dimension(reader_.next()));
        } else {
          add_chunk(whole, n);
        }
      }
    }
    check_file(has_shape && has_chunks && !whole.chunks.empty(), FileFault::type, file_path_,
               "'{}' lacks its shape or its chunks", here());
    uint64_t bytes = 0;
    for (const auto& chunk : whole.chunks) bytes += chunk.size();
    const int64_t expected = tensor_bytes(whole.dtype, whole.shape, file_path_);
    check_file(bytes == static_cast<uint64_t>(expected), FileFault::layout, file_path_,
               "'{}' has {} bytes, its shape asks for {}", here(), bytes, expected);
    add(std::move(whole));
  }

  void add_chunk(FlaxArray& whole, uint64_t n) {
    const MsgpackValue v = reader_.next();
    check_file(v.kind == Kind::extension && v.type == kArrayExtension, FileFault::type, file_path_,
               "a chunk of '{}' is no array", here());
    const FlaxArray chunk = unpack(v.bytes);
    check_file(n == 0 || chunk.dtype == whole.dtype, FileFault::type, file_path_,
               "the chunks of '{}' have different dtypes", here());
    whole.dtype = chunk.dtype;
    whole.chunks.push_back(chunk.chunks[0]);
  }

  std::string here() const { return fmt::format("{}", fmt::join(path_, "/")); }

  MsgpackReader reader_;
  std::string_view file_path_;
  std::vector<std::string> path_;
  std::vector<FlaxArray> arrays_;
};

}  // namespace

std::vector<FlaxArray> parse_flax_tree(std::span<const std::byte> file, std::string_view path) {
  return TreeParser(file, path).parse();
}

}  // namespace caravan::formats
