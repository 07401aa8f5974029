// What torch's pickled records mean: storages, tensors, parameters, and where in a file the state dict is.
//
// Source: torch/_utils.py (the _rebuild functions), torch/serialization.py (persistent ids). Records are only read: no
// function of torch is called, and a record that is none of these is skipped. Left out: quantized, sparse, nested,
// complex and meta tensors (a clear error where a state dict holds one).
//
//   for (const auto& [name, record] : find_state_dict(document.root(), where))
//     tensors.push_back(read_tensor(name, record, find_storage, where));
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/formats/pickle.h"

namespace caravan::formats {

// A class of torch.storage: FloatStorage, UntypedStorage ...
struct StorageType {
  std::string_view name;
  std::optional<DType> dtype;  // none: untyped bytes
  int64_t item_bytes;
  bool readable = true;  // false: known to torch, not read here (quantized, complex)
};

// ("storage", TYPE, KEY, location, numel[, (view key, offset, numel)])
struct StorageId {
  StorageType type;
  std::string key;
  int64_t bytes = 0;                       // of the whole storage
  int64_t view_begin = 0, view_bytes = 0;  // the part that is meant: all of it, or a view in the old format
};

// Throws: type (not such a tuple, unknown class), path (a key that is no plain name), overflow (numel).
StorageId read_storage_id(const PickleValue& persistent, std::string_view where);

struct StorageBytes {
  StorageType type;
  std::span<const std::byte> bytes;
};
using FindStorage = std::function<StorageBytes(const PickleValue& persistent)>;

// A strided view of a storage; offset and strides count elements.
struct TorchTensor {
  TensorInfo info;
  std::span<const std::byte> storage;
  int64_t offset = 0;
  std::vector<int64_t> stride;
  bool contiguous() const;
};

bool is_tensor_record(const PickleValue& value);
bool is_rebuild_global(const PickleValue& global);  // makes a tensor or parameter
bool is_torch_global(const PickleValue& global);    // part of how torch saves tensors and dicts: not foreign

// Every index that the view can reach is checked to lie in its storage.
TorchTensor read_tensor(std::string name, const PickleValue& record, const FindStorage& find_storage,
                        std::string_view where);

// The state dict at the top level, under "state_dict", "model_state_dict", "model" or "module" (in this order, nested
// as well), in the only dict that holds tensors, or in a pickled torch.nn.Module. Dicts inside it give dotted names.
// Empty where there are no tensors.
std::vector<std::pair<std::string, PickleValue>> find_state_dict(const PickleValue& root, std::string_view where);

}  // namespace caravan::formats
