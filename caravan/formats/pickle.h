// An inert pickle machine: reads Python pickles (protocols 2 to 5) into plain values and runs nothing.
//
// Source: CPython's pickletools and Lib/pickle.py. A global is a pair of names, a call or a built object is a record of
// {callable, args, state, items, entries}; nothing is imported, called or looked up. Left out: the text opcodes of
// protocols 0 and 1, out-of-band buffers, the extension registry.
//
//   PickleDocument document(bytes, "model.bin: data.pkl", limits);   // `bytes` must outlive the document
//   for (auto [key, value] : document.root().entries()) ...          // a dict, or an object that was filled like one
//
// Values may share parts (the memo), never contain themselves, and nest at most `limits.nesting` deep: code that walks
// them may recurse, but should count its steps where shared parts could be visited again and again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caravan::formats {

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,
  long_integer,
  number,
  string,
  bytes,
  global,
  list,
  tuple,
  dict,
  set,
  object,
  persistent,
};

std::string_view to_string(PickleKind kind);

struct PickleNode;
struct PickleObject;

// 16 bytes; strings point into the pickle itself.
class PickleValue {
 public:
  using Entries = std::vector<std::pair<PickleValue, PickleValue>>;

  PickleValue() : node_(nullptr) {}
  static PickleValue of(bool value);
  static PickleValue of(int64_t value);
  static PickleValue of(double value);
  static PickleValue of(PickleKind kind, std::string_view bytes);  // string, bytes, long_integer
  static PickleValue of(PickleKind kind, PickleNode* node);

  PickleKind kind() const { return kind_; }
  bool is(PickleKind kind) const { return kind_ == kind; }
  bool has_node() const { return kind_ >= PickleKind::global; }
  bool boolean() const { return boolean_; }
  int64_t integer() const { return integer_; }
  double number() const { return number_; }
  std::string_view text() const { return {text_, length_}; }  // long_integer: two's complement, little-endian
  PickleNode* node() const { return node_; }
  PickleObject* object() const;  // object and persistent

  std::span<const PickleValue> items() const;  // list, tuple, set, object; empty for all others
  const Entries& entries() const;              // dict, object; empty for all others
  bool is_global(std::string_view module, std::string_view name) const;
  std::string_view module() const;  // of a global
  std::string_view name() const;

 private:
  PickleKind kind_ = PickleKind::none;
  uint32_t length_ = 0;
  union {
    bool boolean_;
    int64_t integer_;
    double number_;
    const char* text_;
    PickleNode* node_;
  };
};

struct PickleNode {
  std::vector<PickleValue> items;  // a global's are {module, name}
  uint16_t height = 0;             // longest way down to a leaf; used by the check for cycles
};

// A dict, a call or new object, a persistent id (in `args`).
struct PickleObject : PickleNode {
  PickleValue callable, args, state;
  PickleValue::Entries entries;
};

struct PickleLimits {
  uint64_t operations = 10'000'000;
  uint64_t stack = 1'000'000;
  uint64_t memo = 10'000'000;
  int nesting = 512;
  uint64_t memory = 64 << 20;  // bytes of everything that is built
  // Objects made by these globals are finished: BUILD, SETITEM and APPEND on them are errors (tensors).
  bool (*is_sealed)(const PickleValue& global) = nullptr;
};

class PickleDocument {
 public:
  // Throws corrupt_file: truncated, range (underflow, unknown memo index), type, overflow, limit, version; unsupported.
  PickleDocument(std::span<const std::byte> bytes, std::string where, const PickleLimits& limits);
  PickleDocument(PickleDocument&&) = default;
  PickleDocument& operator=(PickleDocument&&) = default;

  const PickleValue& root() const { return root_; }
  uint64_t bytes_read() const { return bytes_read_; }                   // up to and with STOP
  const std::vector<PickleValue>& globals() const { return globals_; }  // every GLOBAL, each pair of names once
  const std::vector<PickleValue>& persistent() const { return persistent_; }

 private:
  friend class PickleMachine;
  std::deque<PickleNode> nodes_;
  std::deque<PickleObject> objects_;
  std::vector<PickleValue> globals_, persistent_;
  PickleValue root_;
  uint64_t bytes_read_ = 0;
};

}  // namespace caravan::formats
