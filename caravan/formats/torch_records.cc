#include "caravan/formats/torch_records.h"

#include <algorithm>
#include <array>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/utf8.h"

namespace caravan::formats {
namespace {

constexpr size_t kMaxName = 4096, kMaxTensors = 1'000'000;
constexpr int kMaxRank = 16;

constexpr StorageType kStorageTypes[] = {
    {"DoubleStorage", DType::f64, 8},
    {"FloatStorage", DType::f32, 4},
    {"HalfStorage", DType::f16, 2},
    {"BFloat16Storage", DType::bf16, 2},
    {"LongStorage", DType::i64, 8},
    {"IntStorage", DType::i32, 4},
    {"ShortStorage", DType::i16, 2},
    {"CharStorage", DType::i8, 1},
    {"ByteStorage", DType::u8, 1},
    {"BoolStorage", DType::boolean, 1},
    {"UntypedStorage", std::nullopt, 1},
    {"ComplexDoubleStorage", std::nullopt, 16, false},
    {"ComplexFloatStorage", std::nullopt, 8, false},
    {"QUInt8Storage", std::nullopt, 1, false},
    {"QInt8Storage", std::nullopt, 1, false},
    {"QInt32Storage", std::nullopt, 4, false},
    {"QUInt4x2Storage", std::nullopt, 1, false},
    {"QUInt2x4Storage", std::nullopt, 1, false},
};

int64_t integer_of(const PickleValue& value, std::string_view what, std::string_view where) {
  check_file(value.is(PickleKind::integer), FileFault::type, where, "{} must be an int, it is {}", what,
             to_string(value.kind()));
  return value.integer();
}

// Arguments of a call or parts of a tuple, by position.
const PickleValue& part(std::span<const PickleValue> parts, size_t i, std::string_view what, std::string_view where) {
  check_file(i < parts.size(), FileFault::type, where, "{}: argument {} is missing", what, i);
  return parts[i];
}

// A tuple or list of ints, or torch.Size of one.
std::vector<int64_t> integers_of(PickleValue value, std::string_view what, std::string_view where) {
  if (value.is(PickleKind::object) && value.object()->callable.is_global("torch", "Size")) {
    value = part(value.object()->args.items(), 0, what, where);
  }
  check_file(value.is(PickleKind::tuple) || value.is(PickleKind::list), FileFault::type, where,
             "{} must be a tuple of ints, it is {}", what, to_string(value.kind()));
  check_file(value.items().size() <= kMaxRank, FileFault::limit, where, "{} has {} dimensions, at most {} are read",
             what, value.items().size(), kMaxRank);
  std::vector<int64_t> result;
  for (const PickleValue& item : value.items()) result.push_back(integer_of(item, what, where));
  return result;
}

void check_name(const std::string& name, std::string_view where) {
  check_file(name.size() <= kMaxName, FileFault::limit, where, "a tensor name of {} bytes", name.size());
  check_file(find_invalid_utf8(name) == name.npos, FileFault::utf8, where, "a tensor name is not UTF-8");
}

StorageType storage_type_of(const PickleValue& global, std::string_view where) {
  const bool of_torch =
      global.is(PickleKind::global) &&
      (global.module() == "torch" || global.module() == "torch.storage" || global.module() == "torch.cuda");
  const auto* found = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                   [&](const StorageType& t) { return t.name == global.name(); });
  check_file(of_torch && found != std::end(kStorageTypes), FileFault::type, where, "'{}.{}' is not a storage type",
             global.module(), global.name());
  return *found;
}

// The record of a call without its wrappers: parameters and tensor subclasses keep the tensor in their arguments.
struct Call {
  PickleValue function;
  std::span<const PickleValue> args;
};

Call unwrap(const PickleValue& record, std::string_view where) {
  Call call{record.object()->callable, record.object()->args.items()};
  for (;;) {
    if (call.function.is_global("torch._tensor", "_rebuild_from_type_v2")) {  // (function, type, args, state)
      call = {part(call.args, 0, "_rebuild_from_type_v2", where),
              part(call.args, 2, "_rebuild_from_type_v2", where).items()};
    } else if (call.function.name().starts_with("_rebuild_parameter")) {  // (data, requires_grad, hooks[, state])
      const PickleValue& data = part(call.args, 0, "a parameter", where);
      check_file(is_tensor_record(data), FileFault::type, where, "a parameter's data must be a tensor, it is {}",
                 to_string(data.kind()));
      call = {data.object()->callable, data.object()->args.items()};
    } else {
      return call;
    }
  }
}

DType dtype_of(const Call& call, const StorageType& storage, std::string_view where) {
  if (call.function.name() != "_rebuild_tensor_v3") {
    check_file(storage.readable, FileFault::unsupported, where, "tensors of a {} are not read", storage.name);
    check_file(storage.dtype.has_value(), FileFault::type, where, "a tensor of an untyped storage without a dtype");
    return *storage.dtype;
  }
  const PickleValue& global = part(call.args, 6, "_rebuild_tensor_v3", where);
  check_file(global.is(PickleKind::global) && global.module() == "torch", FileFault::type, where,
             "a tensor's dtype must be one of torch's, it is {}", to_string(global.kind()));
  const std::optional<DType> dtype = find_dtype(global.name());
  check_file(dtype.has_value() && !is_block_quantized(*dtype), FileFault::unsupported, where,
             "tensors of dtype torch.{} are not read", global.name());
  return *dtype;
}

// offset + sum of (size - 1) * stride must be an element of the storage.
void check_bounds(const TorchTensor& tensor, int64_t elements, std::string_view where) {
  const int64_t numel = checked_numel(tensor.info.shape, where);
  check_file(tensor.offset >= 0, FileFault::layout, where, "a storage offset of {}", tensor.offset);
  for (int64_t stride : tensor.stride) check_file(stride >= 0, FileFault::layout, where, "a stride of {}", stride);
  if (numel == 0) return;
  int64_t last = tensor.offset;
  for (size_t i = 0; i < tensor.stride.size(); ++i) {
    last = checked_add<int64_t>(last, checked_mul<int64_t>(tensor.info.shape[i] - 1, tensor.stride[i], where), where);
  }
  check_file(last < elements, FileFault::layout, where, "element {} of a storage of {}", last, elements);
}

bool is_module(const PickleValue& value) {
  if (!value.is(PickleKind::object)) return false;
  for (const auto& [key, unused] : value.object()->state.entries()) {
    if (key.is(PickleKind::string) && key.text() == "_modules") return true;
  }
  return false;
}

PickleValue::Entries mapping_of(const PickleValue& value);

// A torch.nn.Module's parameters, buffers and submodules, as one mapping in the order of state_dict().
PickleValue::Entries entries_of_module(const PickleValue& module) {
  PickleValue::Entries all;
  for (std::string_view wanted : {"_parameters", "_buffers", "_modules"}) {
    for (const auto& [key, value] : module.object()->state.entries()) {
      if (!key.is(PickleKind::string) || key.text() != wanted) continue;
      const PickleValue::Entries entries = mapping_of(value);
      all.insert(all.end(), entries.begin(), entries.end());
    }
  }
  return all;
}

// A dict, an object that was filled like one, OrderedDict([[key, value], ...]), or a module.
PickleValue::Entries mapping_of(const PickleValue& value) {
  if (is_module(value)) return entries_of_module(value);
  PickleValue::Entries entries = value.entries();
  if (value.is(PickleKind::object) && value.object()->callable.is_global("collections", "OrderedDict") &&
      !value.object()->args.items().empty()) {
    PickleValue::Entries from_pairs;
    for (const PickleValue& pair : value.object()->args.items()[0].items()) {
      if (pair.items().size() == 2) from_pairs.emplace_back(pair.items()[0], pair.items()[1]);
    }
    entries.insert(entries.begin(), from_pairs.begin(), from_pairs.end());
  }
  return entries;
}

// Walks mappings and collects tensors under dotted names. Parts may be shared, so every step costs fuel.
class StateDictFinder {
 public:
  using Found = std::vector<std::pair<std::string, PickleValue>>;
  explicit StateDictFinder(std::string_view where) : where_(where) {}

  Found find(const PickleValue& root, int depth = 0) {
    const PickleValue::Entries entries = mapping_of(root);
    spend(entries.size());
    if (!is_module(root) && depth < 8) {
      for (std::string_view wrapper : {"state_dict", "model_state_dict", "model", "module"}) {
        for (const auto& [key, value] : entries) {
          if (!key.is(PickleKind::string) || key.text() != wrapper || is_tensor_record(value)) continue;
          if (Found found = find(value, depth + 1); !found.empty()) return found;
        }
      }
      if (!holds_tensors(entries)) {  // one dict beside other things, or parts of one model
        std::vector<Found> parts;
        for (const auto& [key, value] : entries) {
          if (Found found = flatten(value); key.is(PickleKind::string) && !found.empty())
            parts.push_back(std::move(found));
        }
        if (parts.size() == 1) return std::move(parts[0]);
      }
    }
    return flatten(root);
  }

 private:
  bool holds_tensors(const PickleValue::Entries& entries) {
    spend(entries.size());
    return std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
      return entry.first.is(PickleKind::string) && is_tensor_record(entry.second);
    });
  }

  Found flatten(const PickleValue& value) {
    Found found;
    flatten(mapping_of(value), "", found);
    return found;
  }

  void flatten(const PickleValue::Entries& entries, const std::string& prefix, Found& found) {
    spend(1 + entries.size());
    check_file(prefix.size() <= kMaxName, FileFault::limit, where_, "a tensor name of {} bytes", prefix.size());
    for (const auto& [key, value] : entries) {
      if (!key.is(PickleKind::string)) continue;
      if (is_tensor_record(value)) {
        found.emplace_back(prefix + std::string(key.text()), value);
      } else if (const PickleValue::Entries below = mapping_of(value); !below.empty()) {
        flatten(below, prefix + std::string(key.text()) + ".", found);
      }
    }
  }

  void spend(size_t steps) {
    fuel_ += steps;
    check_file(fuel_ <= 10 * kMaxTensors, FileFault::limit, where_, "too many entries in the dicts of the state dict");
  }

  std::string_view where_;
  size_t fuel_ = 0;
};

}  // namespace

StorageId read_storage_id(const PickleValue& persistent, std::string_view where) {
  check_file(persistent.is(PickleKind::persistent), FileFault::type, where,
             "a tensor's storage must be a persistent id, it is {}", to_string(persistent.kind()));
  const std::span<const PickleValue> id = persistent.object()->args.items();
  check_file(
      id.size() >= 5 && id[0].is(PickleKind::string) && id[0].text() == "storage" && id[2].is(PickleKind::string),
      FileFault::type, where, "a persistent id must be ('storage', type, key, location, numel)");
  StorageId result{.type = storage_type_of(id[1], where), .key = std::string(id[2].text())};
  check_plain_name(result.key, where);
  const int64_t numel = integer_of(id[4], "a storage's numel", where);
  check_file(numel >= 0, FileFault::overflow, where, "storage '{}' has {} elements", result.key, numel);
  result.bytes = result.view_bytes = checked_mul<int64_t>(numel, result.type.item_bytes, where);
  if (id.size() < 6 || id[5].is(PickleKind::none)) return result;
  const std::span<const PickleValue> view = id[5].items();
  check_file(view.size() == 3, FileFault::type, where, "a storage view must be (key, offset, numel)");
  const int64_t begin = integer_of(view[1], "a view's offset", where), n = integer_of(view[2], "a view's numel", where);
  check_file(begin >= 0 && n >= 0 && begin <= numel && n <= numel - begin, FileFault::layout, where,
             "a view of {} elements at {} of a storage of {}", n, begin, numel);
  result.view_begin = begin * result.type.item_bytes;
  result.view_bytes = n * result.type.item_bytes;
  return result;
}

bool TorchTensor::contiguous() const {
  int64_t expected = 1;
  for (size_t i = info.shape.size(); i-- > 0;) {
    if (info.shape[i] == 0) return true;
    if (info.shape[i] != 1 && stride[i] != expected) return false;
    expected *= info.shape[i];
  }
  return true;
}

bool is_rebuild_global(const PickleValue& global) {
  return (global.module() == "torch._utils" && global.name().starts_with("_rebuild")) ||
         global.is_global("torch._tensor", "_rebuild_from_type_v2");
}

bool is_tensor_record(const PickleValue& value) {
  return value.is(PickleKind::object) && is_rebuild_global(value.object()->callable);
}

bool is_torch_global(const PickleValue& global) {
  static constexpr std::array<std::string_view, 4> kModules = {"torch", "torch.storage", "torch.cuda",
                                                               "torch.nn.parameter"};
  static constexpr std::array<std::string_view, 5> kNames = {"Size", "Tensor", "Parameter", "Buffer", "device"};
  if (is_rebuild_global(global) || global.is_global("collections", "OrderedDict")) return true;
  if (std::find(kModules.begin(), kModules.end(), global.module()) == kModules.end()) return false;
  const auto is_storage = [&](const StorageType& type) { return type.name == global.name(); };
  return std::find(kNames.begin(), kNames.end(), global.name()) != kNames.end() ||
         std::any_of(std::begin(kStorageTypes), std::end(kStorageTypes), is_storage) ||
         find_dtype(global.name()).has_value();
}

TorchTensor read_tensor(std::string name, const PickleValue& record, const FindStorage& find_storage,
                        std::string_view where) {
  check_name(name, where);
  const std::string here = fmt::format("{}: tensor '{}'", where, name);
  const Call call = unwrap(record, here);
  const std::string_view function = call.function.name();
  const bool known =
      call.function.module() == "torch._utils" &&
      (function == "_rebuild_tensor" || function == "_rebuild_tensor_v2" || function == "_rebuild_tensor_v3");
  check_file(known, FileFault::unsupported, here, "tensors made by {}.{} are not read", call.function.module(),
             function);
  const StorageBytes storage = find_storage(part(call.args, 0, function, here));
  TorchTensor tensor;  // filled step by step: GCC 12 destroys a half-made nested aggregate twice when a part throws
  tensor.info.name = std::move(name);
  tensor.info.dtype = dtype_of(call, storage.type, here);
  tensor.storage = storage.bytes;
  tensor.offset = integer_of(part(call.args, 1, function, here), "a storage offset", here);
  tensor.info.shape = integers_of(part(call.args, 2, function, here), "the shape", here);
  tensor.stride = integers_of(part(call.args, 3, function, here), "the strides", here);
  check_file(tensor.info.shape.size() == tensor.stride.size(), FileFault::layout, here, "{} dimensions, {} strides",
             tensor.info.shape.size(), tensor.stride.size());
  const auto item_bytes = static_cast<uint64_t>(dtype_info(tensor.info.dtype).block_bytes);
  check_bounds(tensor, static_cast<int64_t>(storage.bytes.size() / item_bytes), here);
  return tensor;
}

std::vector<std::pair<std::string, PickleValue>> find_state_dict(const PickleValue& root, std::string_view where) {
  auto found = StateDictFinder(where).find(root);
  check_file(found.size() <= kMaxTensors, FileFault::limit, where, "{} tensors", found.size());
  return found;
}

}  // namespace caravan::formats
