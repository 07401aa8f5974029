// The whole layout follows from the plan: the frame (maps, names, shapes) is written first, with gaps where the arrays'
// bytes go; tensors then fill their gaps in any order, so a plan need not follow the nesting of its names.
#include "caravan/formats/flax_writer.h"

#include <algorithm>
#include <map>

#include "caravan/base/dtype_names.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/flax_names.h"
#include "caravan/formats/flax_tree.h"
#include "caravan/formats/msgpack.h"

namespace caravan::formats {
namespace {

struct Gap {
  uint64_t offset, size;
};
struct Leaf {
  TensorInfo tensor;
  FlaxName name;
  std::vector<Gap> gaps;  // one for each chunk
};
// A map of the file, or one of its arrays.
struct Node {
  std::map<std::string, Node> children;  // sorted, as jax orders a dictionary
  Leaf* leaf = nullptr;
};

class FlaxFile final : public TensorFile {
 public:
  FlaxFile(const std::string& path, const std::vector<TensorInfo>& plan, int64_t chunk_bytes)
      : cursor_(plan), file_(path), chunk_bytes_(chunk_bytes) {
    std::vector<std::string> names;
    for (const TensorInfo& tensor : plan) names.push_back(tensor.name);
    std::sort(names.begin(), names.end());
    leaves_.reserve(plan.size());
    Node root;
    for (const TensorInfo& tensor : plan) {
      leaves_.push_back({tensor, to_flax_name(tensor, names), {}});
      place(root, leaves_.back());
    }
    write_node(root);
  }

  void write(const TensorInfo& tensor, std::span<const std::byte> bytes) override {
    cursor_.take(tensor.name, bytes.size());
    const Leaf& leaf = leaves_[next_++];
    if (leaf.name.is_transposed) {
      turned_.resize(bytes.size());
      transpose_to_flax(bytes, tensor.shape, static_cast<size_t>(dtype_info(tensor.dtype).block_bytes), turned_);
      bytes = turned_;
    }
    for (const Gap& gap : leaf.gaps) {
      file_.seek(gap.offset);
      file_.write(bytes.first(gap.size));
      bytes = bytes.subspan(gap.size);
    }
  }

  void commit() override {
    cursor_.check_finished();
    file_.commit();
  }

 private:
  static void place(Node& root, Leaf& leaf) {
    Node* node = &root;
    for (const std::string& part : leaf.name.path) {
      check(node->leaf == nullptr, ErrorCode::unsupported,
            "flax files cannot hold '{}': a tensor has the name of its folder", leaf.tensor.name);
      node = &node->children[part];
    }
    check(node->leaf == nullptr && node->children.empty(), ErrorCode::unsupported,
          "flax files cannot hold '{}' beside another tensor", leaf.tensor.name);
    node->leaf = &leaf;
  }

  void write_node(const Node& node) {
    if (node.leaf != nullptr) return write_leaf(*node.leaf);
    file_.write(msgpack_map(node.children.size()));
    for (const auto& [name, child] : node.children) {
      file_.write(msgpack_text(name));
      write_node(child);
    }
  }

  void write_leaf(Leaf& leaf) {
    const std::vector<int64_t> shape = leaf.name.is_transposed ? to_flax_shape(leaf.tensor.shape) : leaf.tensor.shape;
    const int64_t bytes = tensor_bytes(leaf.tensor.dtype, shape, leaf.tensor.name);
    if (bytes <= chunk_bytes_) return write_array(leaf, shape, bytes);
    file_.write(msgpack_map(3) + msgpack_text("__msgpack_chunked_array__") + msgpack_true() + msgpack_text("shape") +
                msgpack_map(shape.size()));
    for (size_t i = 0; i < shape.size(); ++i)
      file_.write(msgpack_text(std::to_string(i)) + msgpack_integer(static_cast<uint64_t>(shape[i])));
    const int64_t unit = dtype_info(leaf.tensor.dtype).block_bytes,
                  step = std::max<int64_t>(1, chunk_bytes_ / unit) * unit;
    file_.write(msgpack_text("chunks") + msgpack_map(static_cast<uint64_t>((bytes + step - 1) / step)));
    for (int64_t at = 0; at < bytes; at += step) {
      const int64_t size = std::min(step, bytes - at);
      file_.write(msgpack_text(std::to_string(at / step)));
      write_array(leaf, {size / unit}, size);
    }
  }

  // Extension of the tuple (shape, dtype, bytes), with the bytes left out.
  void write_array(Leaf& leaf, const std::vector<int64_t>& shape, int64_t bytes) {
    std::string inner = msgpack_array(3) + msgpack_array(shape.size());
    for (const int64_t d : shape) inner += msgpack_integer(static_cast<uint64_t>(d));
    const auto size = static_cast<uint64_t>(bytes);
    inner += msgpack_text(numpy_name(leaf.tensor.dtype)) + msgpack_begin_binary(size);
    file_.write(msgpack_begin_extension(1, inner.size() + size) + inner);
    leaf.gaps.push_back({file_.position(), size});
    file_.seek(file_.position() + size);
  }

  PlanCursor cursor_;
  AtomicFile file_;
  int64_t chunk_bytes_;
  std::vector<Leaf> leaves_;  // in the order of the plan
  size_t next_ = 0;
  std::vector<std::byte> turned_;
};

}  // namespace

std::unique_ptr<TensorFile> create_flax_file(const std::string& path, const std::vector<TensorInfo>& plan,
                                             int64_t chunk_bytes) {
  return std::make_unique<FlaxFile>(path, plan, chunk_bytes);
}

std::unique_ptr<CheckpointWriter> create_flax(const std::string& path, std::vector<TensorInfo> plan, const Json& config,
                                              const WriteOptions& options) {
  const auto open = [](const std::string& file, const std::vector<TensorInfo>& tensors) {
    return create_flax_file(file, tensors);
  };
  const auto holds = [](DType dtype) { return !numpy_name(dtype).empty(); };
  return create_folder(path, std::move(plan), config, options,
                       {.stem = "flax_model", .extension = "msgpack", .holds = holds, .open = open, .sharded = false});
}

}  // namespace caravan::formats
