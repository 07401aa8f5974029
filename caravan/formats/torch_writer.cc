#include "caravan/formats/torch_writer.h"

#include <limits>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/zip_writer.h"

namespace caravan::formats {
namespace {

constexpr std::string_view kRoot = "archive";

// How torch names a dtype: by the class of its storage, or (dtypes that came after typed storages) by itself.
struct TorchType {
  DType dtype;
  std::string_view storage;
  std::string_view name = "";  // "torch.NAME" beside an untyped storage
};

constexpr TorchType kTorchTypes[] = {
    {DType::f64, "DoubleStorage"},
    {DType::f32, "FloatStorage"},
    {DType::f16, "HalfStorage"},
    {DType::bf16, "BFloat16Storage"},
    {DType::i64, "LongStorage"},
    {DType::i32, "IntStorage"},
    {DType::i16, "ShortStorage"},
    {DType::i8, "CharStorage"},
    {DType::u8, "ByteStorage"},
    {DType::boolean, "BoolStorage"},
    {DType::u16, "UntypedStorage", "uint16"},
    {DType::u32, "UntypedStorage", "uint32"},
    {DType::u64, "UntypedStorage", "uint64"},
    {DType::f8_e4m3, "UntypedStorage", "float8_e4m3fn"},
    {DType::f8_e5m2, "UntypedStorage", "float8_e5m2"},
};

const TorchType* find_type(DType dtype) {
  for (const TorchType& type : kTorchTypes) {
    if (type.dtype == dtype) return &type;
  }
  return nullptr;
}

// A pickle of protocol 2, opcode by opcode.
class PickleText {
 public:
  PickleText& op(std::string_view opcodes) { return bytes_.append(opcodes), *this; }
  PickleText& global(std::string_view module, std::string_view name) {
    return op(fmt::format("c{}\n{}\n", module, name));
  }
  PickleText& text(std::string_view text) { return op("X").number(text.size(), 4).op(text); }
  PickleText& integer(int64_t value) {  // not negative
    if (value <= 0xff) return op("K").number(static_cast<uint64_t>(value), 1);
    if (value <= std::numeric_limits<int32_t>::max()) return op("J").number(static_cast<uint64_t>(value), 4);
    return op("\x8a\x08").number(static_cast<uint64_t>(value), 8);
  }
  PickleText& integers(std::span<const int64_t> values) {
    op("(");
    for (int64_t value : values) integer(value);
    return op("t");
  }
  PickleText& ordered_dict() { return global("collections", "OrderedDict").op(")R"); }
  const std::string& bytes() const { return bytes_; }

 private:
  PickleText& number(uint64_t value, int n) {
    for (int i = 0; i < n; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }
  std::string bytes_;
};

std::vector<int64_t> contiguous_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  return strides;
}

// _rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks), or _v3 with the dtype at the end.
void put_tensor(PickleText& pickle, const TensorInfo& tensor, size_t key) {
  const TorchType& type = *find_type(tensor.dtype);
  const bool typed = type.name.empty();
  const int64_t bytes = tensor_bytes(tensor.dtype, tensor.shape, tensor.name);
  pickle.text(tensor.name).global("torch._utils", typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3").op("((");
  pickle.text("storage").global(typed ? "torch" : "torch.storage", type.storage).text(std::to_string(key)).text("cpu");
  pickle.integer(typed ? bytes / dtype_info(tensor.dtype).block_bytes : bytes).op("tQ").integer(0);
  pickle.integers(tensor.shape).integers(contiguous_strides(tensor.shape)).op("\x89").ordered_dict();
  if (!typed) pickle.global("torch", type.name);
  pickle.op("tR");
}

std::string pickle_of(const std::vector<TensorInfo>& plan) {
  PickleText pickle;
  pickle.op("\x80\x02").ordered_dict().op("(");
  for (size_t i = 0; i < plan.size(); ++i) put_tensor(pickle, plan[i], i);
  return pickle.op("u.").bytes();
}

class TorchTensorFile final : public TensorFile {
 public:
  TorchTensorFile(const std::string& path, const std::vector<TensorInfo>& plan) : file_(path), zip_(file_) {
    add("data.pkl", pickle_of(plan));
    add(".format_version", "1");
    add(".storage_alignment", "64");
    add("byteorder", "little");
    add("version", "3\n");
  }

  void write(const TensorInfo&, std::span<const std::byte> bytes) override {
    zip_.add(fmt::format("{}/data/{}", kRoot, written_++), bytes);
  }

  void commit() override {
    zip_.finish();
    file_.commit();
  }

 private:
  void add(std::string_view name, std::string_view text) { zip_.add(fmt::format("{}/{}", kRoot, name), text); }

  AtomicFile file_;
  ZipWriter zip_;
  size_t written_ = 0;
};

}  // namespace

std::unique_ptr<TensorFile> create_torch_file(const std::string& path, const std::vector<TensorInfo>& plan) {
  return std::make_unique<TorchTensorFile>(path, plan);
}

std::unique_ptr<CheckpointWriter> create_torch(const std::string& path, std::vector<TensorInfo> plan,
                                               const Json& config, const WriteOptions& options) {
  return create_folder(path, std::move(plan), config, options,
                       {.stem = "pytorch_model",
                        .extension = "bin",
                        .holds = [](DType dtype) { return find_type(dtype) != nullptr; },
                        .open = create_torch_file});
}

}  // namespace caravan::formats
