// The stack machine behind PickleDocument: one opcode after the other, each operand checked against the bytes left,
// each thing built charged against the limits. Nothing outside the document is touched.
#pragma once

#include <fmt/format.h>

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/formats/pickle.h"

namespace caravan::formats {

class PickleMachine {
 public:
  PickleMachine(PickleDocument& document, std::span<const std::byte> bytes, std::string_view where,
                const PickleLimits& limits)
      : document_(document), bytes_(bytes), where_(where), limits_(limits) {}
  void run();

 private:
  // Each takes the opcodes of one group and says whether this was one of them.
  bool run_scalar(uint8_t op);
  bool run_text(uint8_t op);
  bool run_container(uint8_t op);
  bool run_stack(uint8_t op);
  bool run_memo(uint8_t op);
  bool run_object(uint8_t op);

  std::string_view take(uint64_t n);
  std::string_view take_line();
  template <class T>
  T take_number();
  void push_long(int64_t n);
  void push_text(PickleKind kind, uint64_t n);

  void push(PickleValue value);
  PickleValue pop();
  PickleValue& top();
  size_t pop_mark();  // where in the stack the values above the mark begin
  std::vector<PickleValue> pop_to_mark();
  void charge(uint64_t bytes);
  PickleNode* new_node(std::vector<PickleValue> items);
  PickleObject* new_object();

  void append(const std::vector<PickleValue>& values, bool to_set);
  void set_items(const std::vector<PickleValue>& keys_and_values);
  void check_open(const PickleValue& target, std::string_view what) const;
  void push_global(std::string_view module, std::string_view name);
  void push_call(PickleValue callable, PickleValue args);
  void build();
  void remember(uint64_t index);
  void recall(uint64_t index);

  int check_acyclic(const PickleValue& value, int depth);

  template <class... Args>
  [[noreturn]] void fail_here(FileFault fault, fmt::format_string<Args...> format, Args&&... args) const {
    fail_file(fault, where_, "{} (byte {} of the pickle)", fmt::format(format, std::forward<Args>(args)...),
              opcode_at_);
  }
  template <class... Args>
  void check_here(bool condition, FileFault fault, fmt::format_string<Args...> format, Args&&... args) const {
    if (!condition) [[unlikely]]
      fail_here(fault, format, std::forward<Args>(args)...);
  }

  PickleDocument& document_;
  std::span<const std::byte> bytes_;
  std::string_view where_;
  PickleLimits limits_;
  uint64_t position_ = 0, opcode_at_ = 0, used_ = 0;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;
  std::vector<PickleValue> memo_;                       // indices 0 .. n-1, which is how picklers count
  std::unordered_map<uint64_t, PickleValue> far_memo_;  // any other
  std::unordered_set<std::string> seen_globals_;
};

}  // namespace caravan::formats
