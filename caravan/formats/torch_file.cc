#include "caravan/formats/torch_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_set>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"

namespace caravan::formats {
namespace {

// 0x1950a86a20f9469cfc6c, little-endian, as pickles hold integers.
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kStreamProtocol = 1001;
constexpr int kNewestArchive = 10, kNewestFormat = 1;  // "version" and ".format_version"
constexpr uint64_t kAlwaysVerified = 64 << 10;         // records up to this size are verified when a file is opened
constexpr uint64_t kRoom = 16 << 20;                   // bytes that any file may make us hold, whatever its size

// What a file may make us hold: its pickled values, or a tensor whose strides repeat elements.
uint64_t memory_for(const MappedFile& file) { return kRoom + 2 * file.bytes().size(); }

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Copies a strided view into row-major order; `swap` for big-endian files.
class Gather {
 public:
  Gather(const TorchTensor& tensor, int64_t item_bytes, bool swap)
      : tensor_(tensor), item_(static_cast<size_t>(item_bytes)), swap_(swap) {}

  void run(std::byte* to) {
    to_ = to;
    walk(0, tensor_.storage.data() + tensor_.offset * static_cast<int64_t>(item_));
  }

 private:
  void walk(size_t dim, const std::byte* from) {
    if (dim == tensor_.info.shape.size()) return copy(from);
    const int64_t step = tensor_.stride[dim] * static_cast<int64_t>(item_);
    for (int64_t i = 0; i < tensor_.info.shape[dim]; ++i) walk(dim + 1, from + i * step);
  }

  void copy(const std::byte* from) {
    if (swap_) {
      std::reverse_copy(from, from + item_, to_);
    } else {
      std::memcpy(to_, from, item_);
    }
    to_ += item_;
  }

  const TorchTensor& tensor_;
  size_t item_;
  bool swap_;
  std::byte* to_ = nullptr;
};

}  // namespace

bool looks_like_torch_file(std::string_view head) {
  const bool zip = head.starts_with("PK\x03\x04") || head.starts_with("PK\x05\x06");
  const bool stream = head.starts_with('\x80') && head.substr(0, 40).find(kMagic) != head.npos;
  return zip || stream || (head.size() > 262 && head.substr(257, 5) == "ustar");
}

std::shared_ptr<const TorchFile> TorchFile::open(const std::string& path) {
  std::shared_ptr<TorchFile> file(new TorchFile(MappedFile::open(path)));
  const std::string_view head = text_of(file->file_->bytes()).substr(0, 4096);
  check_file(!head.empty(), FileFault::truncated, path, "the file is empty");
  check_file(looks_like_torch_file(head), FileFault::magic, path,
             "not a file of torch.save: neither a zip archive nor torch's older stream");
  check_file(head.starts_with("PK") || head.starts_with('\x80'), FileFault::unsupported, path,
             "a tar file of torch 0.1 is not read; load and save it again with a torch between 0.4 and 2.5");
  if (head.starts_with("PK")) {
    file->open_archive();
  } else {
    file->open_stream();
  }
  file->check();
  return file;
}

PickleDocument TorchFile::read_pickle(std::span<const std::byte> bytes, std::string_view what) const {
  PickleLimits limits;
  limits.memory = memory_for(*file_);
  limits.is_sealed = is_rebuild_global;
  return PickleDocument(bytes, fmt::format("{}: {}", file_->path(), what), limits);
}

// --- zip archive: ROOT/data.pkl, ROOT/byteorder, ROOT/version, ROOT/data/KEY ---------------------------------------

void TorchFile::open_archive() {
  zip_ = std::make_unique<ZipReader>(file_);
  const std::string& path = file_->path();
  std::string root;
  for (const ZipEntry& entry : zip_->entries()) {
    const size_t slash = entry.name.find('/');
    check_file(slash != entry.name.npos && (root.empty() || entry.name.compare(0, slash, root) == 0), FileFault::layout,
               path, "'{}' is outside of the archive's one folder '{}'", entry.name, root);
    root = entry.name.substr(0, slash);
    if (entry.size <= kAlwaysVerified) (void)zip_->contents(entry);
  }
  const ZipEntry* pickle = zip_->find(root + "/data.pkl");
  check_file(pickle != nullptr, FileFault::layout, path, "a zip archive without data.pkl: not made by torch.save");
  check_file(zip_->find(root + "/constants.pkl") == nullptr, FileFault::unsupported, path,
             "a TorchScript archive holds a program; save the model's state_dict() instead");
  check_archive_version(root);
  const TensorBytes bytes = zip_->contents(*pickle);
  const PickleDocument document = read_pickle(bytes.bytes, "data.pkl");
  find_storages_in_archive(document, root);
  read_tensors(document);
}

void TorchFile::check_archive_version(const std::string& root) {
  const auto record = [&](std::string_view name) {
    const ZipEntry* entry = zip_->find(fmt::format("{}/{}", root, name));
    return entry == nullptr
               ? std::string()
               : std::string(text_of(zip_->contents(*entry).bytes.subspan(0, std::min<size_t>(entry->size, 64))));
  };
  const auto check_number = [&](std::string_view name, int newest) {
    const std::string text = record(name);
    if (text.empty()) return;
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    check_file(error == std::errc() && number >= 1 && number <= newest, FileFault::version, file_->path(),
               "{} '{}'; 1 to {} are read", name, text, newest);
  };
  check_number("version", kNewestArchive);
  check_number(".format_version", kNewestFormat);
  const std::string order = record("byteorder");
  check_file(order.empty() || order == "little" || order == "big", FileFault::layout, file_->path(),
             "byteorder '{}'; 'little' or 'big' is expected", order);
  big_endian_ = order == "big";
}

void TorchFile::find_storages_in_archive(const PickleDocument& document, const std::string& root) {
  for (const PickleValue& persistent : document.persistent()) {
    const StorageId id = read_storage_id(persistent, file_->path());
    auto [found, added] = storages_.try_emplace(id.key);
    if (added) {
      const ZipEntry* entry = zip_->find(fmt::format("{}/data/{}", root, id.key));
      check_file(entry != nullptr, FileFault::layout, file_->path(), "storage '{}' has no record in the archive",
                 id.key);
      found->second = zip_->stored(*entry);
    }
    check_file(static_cast<uint64_t>(id.bytes) == found->second.size(), FileFault::layout, file_->path(),
               "storage '{}' should have {} bytes, its record has {}", id.key, id.bytes, found->second.size());
  }
}

// --- the stream: five pickles (magic, protocol, system, object, keys), then for each key its numel and bytes ---------

void TorchFile::open_stream() {
  const std::string& path = file_->path();
  uint64_t position = 0;
  const auto next = [&](std::string_view what) {
    PickleDocument document = read_pickle(file_->bytes().subspan(position), what);
    position += document.bytes_read();
    return document;
  };
  const PickleDocument magic = next("magic number"), protocol = next("protocol"), system = next("system information");
  check_file(magic.root().is(PickleKind::long_integer) && magic.root().text() == kMagic, FileFault::magic, path,
             "torch's magic number is wrong");
  check_file(protocol.root().is(PickleKind::integer) && protocol.root().integer() == kStreamProtocol,
             FileFault::version, path, "the stream's protocol must be {}", kStreamProtocol);
  for (const auto& [key, value] : system.root().entries()) {
    const bool big = key.is(PickleKind::string) && key.text() == "little_endian" && value.is(PickleKind::boolean) &&
                     !value.boolean();
    check_file(!big, FileFault::unsupported, path, "a stream of a big-endian machine is not read");
  }
  const PickleDocument document = next("object"), keys = next("storage keys");
  find_storages_in_stream(document, keys, position);
  read_tensors(document);
}

void TorchFile::find_storages_in_stream(const PickleDocument& document, const PickleDocument& keys, uint64_t position) {
  const std::string& path = file_->path();
  std::unordered_map<std::string, StorageId> wanted;
  for (const PickleValue& persistent : document.persistent()) {
    const StorageId id = read_storage_id(persistent, path);
    const StorageId& first = wanted.try_emplace(id.key, id).first->second;
    check_file(first.bytes == id.bytes && first.type.item_bytes == id.type.item_bytes, FileFault::layout, path,
               "storage '{}' is described in two ways", id.key);
  }
  check_file(keys.root().is(PickleKind::list), FileFault::type, path, "the storage keys must be a list, they are {}",
             to_string(keys.root().kind()));
  for (const PickleValue& key : keys.root().items()) {
    check_file(key.is(PickleKind::string), FileFault::type, path, "a storage key must be a string, it is {}",
               to_string(key.kind()));
    const auto id = wanted.find(std::string(key.text()));
    check_file(id != wanted.end(), FileFault::layout, path, "no tensor uses storage '{}'", key.text());
    const std::span<const std::byte> rest = file_->bytes().subspan(position);
    int64_t numel = 0;
    check_file(rest.size() >= sizeof(numel), FileFault::truncated, path, "the file is cut off before storage '{}'",
               key.text());
    std::memcpy(&numel, rest.data(), sizeof(numel));
    const auto bytes = static_cast<uint64_t>(id->second.bytes);
    check_file(numel == id->second.bytes / id->second.type.item_bytes, FileFault::layout, path,
               "storage '{}' has {} elements, {} are expected", key.text(), numel,
               id->second.bytes / id->second.type.item_bytes);
    check_file(bytes <= rest.size() - sizeof(numel), FileFault::truncated, path,
               "storage '{}' has {} bytes, {} are left: the file is cut off", key.text(), bytes,
               rest.size() - sizeof(numel));
    check_file(storages_.emplace(key.text(), rest.subspan(sizeof(numel), bytes)).second, FileFault::duplicate, path,
               "two storages with the key '{}'", key.text());
    position += sizeof(numel) + bytes;
  }
  for (const auto& [key, id] : wanted) {
    check_file(storages_.contains(key), FileFault::layout, path, "storage '{}' is missing from the file", key);
  }
}

// --- tensors ------------------------------------------------------------------------------------------------------

void TorchFile::read_tensors(const PickleDocument& document) {
  const std::string& path = file_->path();
  const auto find_storage = [&](const PickleValue& persistent) {
    const StorageId id = read_storage_id(persistent, path);
    return StorageBytes{
        id.type, storages_.at(id.key).subspan(static_cast<size_t>(id.view_begin), static_cast<size_t>(id.view_bytes))};
  };
  std::unordered_set<std::string> names;
  for (auto& [name, record] : find_state_dict(document.root(), path)) {
    check_file(names.insert(name).second, FileFault::duplicate, path, "two tensors named '{}'", name);
    TorchTensor tensor = read_tensor(name, record, find_storage, path);
    const auto bytes = static_cast<uint64_t>(tensor_bytes(tensor.info.dtype, tensor.info.shape, path));
    check_file(tensor.contiguous() || bytes <= memory_for(*file_), FileFault::limit, path,
               "'{}' repeats elements by its strides up to {} bytes", name, bytes);
    tensors_.push_back(std::move(tensor));
  }
  for (const PickleValue& global : document.globals()) {
    if (!is_torch_global(global)) foreign_globals_.push_back(fmt::format("{}.{}", global.module(), global.name()));
  }
}

TensorBytes TorchFile::read(const TorchTensor& tensor) const {
  const int64_t item = dtype_info(tensor.info.dtype).block_bytes;
  const auto bytes = static_cast<size_t>(tensor_bytes(tensor.info.dtype, tensor.info.shape, file_->path()));
  const bool swap = big_endian_ && item > 1;
  if (bytes == 0) return {};
  if (tensor.contiguous() && !swap)
    return {tensor.storage.subspan(static_cast<size_t>(tensor.offset * item), bytes), file_};
  auto copy = std::make_shared<std::vector<std::byte>>(bytes);
  Gather(tensor, item, swap).run(copy->data());
  return {*copy, copy};
}

void TorchFile::verify() const {
  if (zip_ == nullptr) return;  // a stream has no checksums
  for (const ZipEntry& entry : zip_->entries()) (void)zip_->contents(entry);
}

}  // namespace caravan::formats
