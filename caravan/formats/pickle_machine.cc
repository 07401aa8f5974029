// Opcodes by their letters, as pickletools names them.
#include "caravan/formats/pickle_machine.h"

#include <bit>
#include <cstring>

namespace caravan::formats {
namespace {

constexpr uint64_t kMaxString = 1ull << 30;
constexpr uint64_t kMaxLong = 32;  // bytes of an integer: 256 bits hold every random generator's state
constexpr uint16_t kOpen = 0xffff;

}  // namespace

PickleDocument::PickleDocument(std::span<const std::byte> bytes, std::string where, const PickleLimits& limits) {
  PickleMachine(*this, bytes, where, limits).run();
}

void PickleMachine::run() {
  for (uint64_t operations = 0;; ++operations) {
    opcode_at_ = position_;
    check_here(operations < limits_.operations, FileFault::limit, "more than {} operations", limits_.operations);
    const auto op = static_cast<uint8_t>(take(1)[0]);
    if (op == '.') break;
    if (run_scalar(op) || run_memo(op) || run_container(op) || run_object(op) || run_text(op) || run_stack(op))
      continue;
    fail_here(FileFault::unsupported, "opcode 0x{:02x} is not one of protocols 2 to 5, or needs Python to run", op);
  }
  document_.root_ = pop();
  document_.bytes_read_ = position_;
  check_acyclic(document_.root_, 1);
}

// --- operands -----------------------------------------------------------------------------------------------------

std::string_view PickleMachine::take(uint64_t n) {
  const uint64_t left = bytes_.size() - position_;
  check_here(n <= left, FileFault::truncated, "{} bytes wanted, {} left: the pickle is cut off", n, left);
  const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + position_;
  position_ += n;
  return {begin, n};
}

std::string_view PickleMachine::take_line() {
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, bytes_.size() - position_);
  const size_t end = rest.find('\n');
  check_here(end != rest.npos, FileFault::truncated, "a name without its end: the pickle is cut off");
  position_ += end + 1;
  return rest.substr(0, end);
}

template <class T>
T PickleMachine::take_number() {  // little-endian
  T value;
  std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
  return value;
}

void PickleMachine::push_text(PickleKind kind, uint64_t n) {
  const std::string_view text = take(n);
  check_here(n <= kMaxString, FileFault::limit, "a string of {} bytes, at most {} are allowed", n, kMaxString);
  push(PickleValue::of(kind, text));
}

// n bytes of two's complement, little-endian; none for zero.
void PickleMachine::push_long(int64_t n) {
  check_here(n >= 0, FileFault::range, "an integer of {} bytes", n);
  const std::string_view bytes = take(static_cast<uint64_t>(n));
  check_here(bytes.size() <= kMaxLong, FileFault::overflow, "an integer of {} bytes, at most {} are allowed", n,
             kMaxLong);
  if (bytes.size() > 8) return push(PickleValue::of(PickleKind::long_integer, bytes));
  uint64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? ~0ull : 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  push(PickleValue::of(static_cast<int64_t>(value)));
}

// --- stack --------------------------------------------------------------------------------------------------------

void PickleMachine::charge(uint64_t bytes) {
  used_ += bytes;
  check_here(used_ <= limits_.memory, FileFault::limit, "its values need more than {} bytes of memory", limits_.memory);
}

void PickleMachine::push(PickleValue value) {
  check_here(stack_.size() < limits_.stack, FileFault::limit, "more than {} values on the stack", limits_.stack);
  stack_.push_back(value);
}

PickleValue& PickleMachine::top() {
  check_here(stack_.size() > (marks_.empty() ? 0 : marks_.back()), FileFault::range,
             "a value is taken from an empty stack");
  return stack_.back();
}

PickleValue PickleMachine::pop() {
  const PickleValue value = top();
  stack_.pop_back();
  return value;
}

size_t PickleMachine::pop_mark() {
  check_here(!marks_.empty(), FileFault::range, "a MARK is wanted, there is none");
  const size_t begin = marks_.back();
  marks_.pop_back();
  return begin;
}

std::vector<PickleValue> PickleMachine::pop_to_mark() {
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(pop_mark());
  std::vector<PickleValue> values(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  return values;
}

PickleNode* PickleMachine::new_node(std::vector<PickleValue> items) {
  charge(sizeof(PickleNode) + items.size() * sizeof(PickleValue));
  return &document_.nodes_.emplace_back(PickleNode{std::move(items)});
}

PickleObject* PickleMachine::new_object() {
  charge(sizeof(PickleObject));
  return &document_.objects_.emplace_back();
}

bool PickleMachine::run_stack(uint8_t op) {
  switch (op) {
    case '(':  // MARK
      check_here(marks_.size() < static_cast<size_t>(limits_.nesting), FileFault::limit, "nested deeper than {} levels",
                 limits_.nesting);
      return marks_.push_back(stack_.size()), true;
    case '0':  // POP, also of a mark
      if (!marks_.empty() && marks_.back() == stack_.size()) return marks_.pop_back(), true;
      return pop(), true;
    case '1':
      return stack_.resize(pop_mark()), true;  // POP_MARK
    case '2':
      return push(PickleValue(top())), true;  // DUP
    case 0x80: {                              // PROTO
      const auto protocol = take_number<uint8_t>();
      check_here(protocol >= 2 && protocol <= 5, FileFault::version, "pickle protocol {}; 2 to 5 are read", protocol);
      return true;
    }
    case 0x95: {  // FRAME: a hint for buffered readers
      const auto n = take_number<uint64_t>();
      check_here(n <= bytes_.size() - position_, FileFault::truncated, "a frame of {} bytes, {} left", n,
                 bytes_.size() - position_);
      return true;
    }
    default:
      return false;
  }
}

// --- scalars and strings ------------------------------------------------------------------------------------------

bool PickleMachine::run_scalar(uint8_t op) {
  switch (op) {
    case 'N':
      return push(PickleValue()), true;  // NONE
    case 0x88:
      return push(PickleValue::of(true)), true;  // NEWTRUE
    case 0x89:
      return push(PickleValue::of(false)), true;  // NEWFALSE
    case 'J':
      return push(PickleValue::of(int64_t{take_number<int32_t>()})), true;  // BININT
    case 'K':
      return push(PickleValue::of(int64_t{take_number<uint8_t>()})), true;  // BININT1
    case 'M':
      return push(PickleValue::of(int64_t{take_number<uint16_t>()})), true;  // BININT2
    case 0x8a:
      return push_long(take_number<uint8_t>()), true;  // LONG1
    case 0x8b:
      return push_long(take_number<int32_t>()), true;  // LONG4
    case 'G': {                                        // BINFLOAT, big-endian
      const auto bits = __builtin_bswap64(take_number<uint64_t>());
      return push(PickleValue::of(std::bit_cast<double>(bits))), true;
    }
    default:
      return false;
  }
}

bool PickleMachine::run_text(uint8_t op) {
  switch (op) {
    case 'X':
      return push_text(PickleKind::string, take_number<uint32_t>()), true;  // BINUNICODE
    case 0x8c:
      return push_text(PickleKind::string, take_number<uint8_t>()), true;  // SHORT_BINUNICODE
    case 0x8d:
      return push_text(PickleKind::string, take_number<uint64_t>()), true;  // BINUNICODE8
    case 'U':
      return push_text(PickleKind::string, take_number<uint8_t>()), true;  // SHORT_BINSTRING of Python 2
    case 'T': {                                                            // BINSTRING
      const auto n = take_number<int32_t>();
      check_here(n >= 0, FileFault::range, "a string of {} bytes", n);
      return push_text(PickleKind::string, static_cast<uint64_t>(n)), true;
    }
    case 'B':
      return push_text(PickleKind::bytes, take_number<uint32_t>()), true;  // BINBYTES
    case 'C':
      return push_text(PickleKind::bytes, take_number<uint8_t>()), true;  // SHORT_BINBYTES
    case 0x8e:
      return push_text(PickleKind::bytes, take_number<uint64_t>()), true;  // BINBYTES8
    case 0x96:
      return push_text(PickleKind::bytes, take_number<uint64_t>()), true;  // BYTEARRAY8
    default:
      return false;
  }
}

// --- containers ---------------------------------------------------------------------------------------------------

bool PickleMachine::run_container(uint8_t op) {
  const auto node = [&](PickleKind kind, std::vector<PickleValue> items) {
    push(PickleValue::of(kind, new_node(std::move(items))));
    return true;
  };
  const auto tuple_of = [&](size_t n) {
    std::vector<PickleValue> items(n);
    for (size_t i = n; i-- > 0;) items[i] = pop();
    return node(PickleKind::tuple, std::move(items));
  };
  switch (op) {
    case ')':
      return tuple_of(0);  // EMPTY_TUPLE
    case 0x85:
      return tuple_of(1);  // TUPLE1
    case 0x86:
      return tuple_of(2);  // TUPLE2
    case 0x87:
      return tuple_of(3);  // TUPLE3
    case 't':
      return node(PickleKind::tuple, pop_to_mark());  // TUPLE
    case ']':
      return node(PickleKind::list, {});  // EMPTY_LIST
    case 0x8f:
      return node(PickleKind::set, {});  // EMPTY_SET
    case 0x91:
      return node(PickleKind::set, pop_to_mark());  // FROZENSET
    case '}':
      return push(PickleValue::of(PickleKind::dict, new_object())), true;  // EMPTY_DICT
    case 'a':
      return append({pop()}, false), true;  // APPEND
    case 'e':
      return append(pop_to_mark(), false), true;  // APPENDS
    case 0x90:
      return append(pop_to_mark(), true), true;  // ADDITEMS
    case 's': {                                  // SETITEM
      const PickleValue value = pop(), key = pop();
      return set_items({key, value}), true;
    }
    case 'u':
      return set_items(pop_to_mark()), true;  // SETITEMS
    default:
      return false;
  }
}

void PickleMachine::check_open(const PickleValue& target, std::string_view what) const {
  check_here(
      target.is(PickleKind::object) && (limits_.is_sealed == nullptr || !limits_.is_sealed(target.object()->callable)),
      FileFault::type, "{} on {}", what,
      target.is(PickleKind::object) ? "a finished object (a tensor)" : to_string(target.kind()));
}

void PickleMachine::append(const std::vector<PickleValue>& values, bool to_set) {
  const PickleValue target = top();
  if (!target.is(to_set ? PickleKind::set : PickleKind::list)) check_open(target, "APPEND");
  charge(2 * values.size() * sizeof(PickleValue));  // twice: room to grow
  target.node()->items.insert(target.node()->items.end(), values.begin(), values.end());
}

void PickleMachine::set_items(const std::vector<PickleValue>& keys_and_values) {
  check_here(keys_and_values.size() % 2 == 0, FileFault::range, "a key without its value");
  const PickleValue target = top();
  if (!target.is(PickleKind::dict)) check_open(target, "SETITEM");
  charge(2 * keys_and_values.size() * sizeof(PickleValue));
  for (size_t i = 0; i < keys_and_values.size(); i += 2) {
    target.object()->entries.emplace_back(keys_and_values[i], keys_and_values[i + 1]);
  }
}

// --- memo ---------------------------------------------------------------------------------------------------------

bool PickleMachine::run_memo(uint8_t op) {
  switch (op) {
    case 'q':
      return remember(take_number<uint8_t>()), true;  // BINPUT
    case 'r':
      return remember(take_number<uint32_t>()), true;  // LONG_BINPUT
    case 0x94:
      return remember(memo_.size() + far_memo_.size()), true;  // MEMOIZE
    case 'h':
      return recall(take_number<uint8_t>()), true;  // BINGET
    case 'j':
      return recall(take_number<uint32_t>()), true;  // LONG_BINGET
    default:
      return false;
  }
}

void PickleMachine::remember(uint64_t index) {
  const PickleValue value = top();
  if (index < memo_.size()) {
    memo_[index] = value;
    return;
  }
  check_here(memo_.size() + far_memo_.size() < limits_.memo, FileFault::limit, "more than {} memo entries",
             limits_.memo);
  if (index == memo_.size() && !far_memo_.contains(index)) {
    charge(2 * sizeof(PickleValue));
    memo_.push_back(value);
  } else {
    charge(64);
    far_memo_[index] = value;
  }
}

void PickleMachine::recall(uint64_t index) {
  if (index < memo_.size()) return push(memo_[index]);
  const auto it = far_memo_.find(index);
  check_here(it != far_memo_.end(), FileFault::range, "memo entry {} was never stored", index);
  push(it->second);
}

// --- globals and objects: records only ----------------------------------------------------------------------------

bool PickleMachine::run_object(uint8_t op) {
  switch (op) {
    case 'c': {  // GLOBAL
      const std::string_view module = take_line(), name = take_line();
      return push_global(module, name), true;
    }
    case 0x93: {  // STACK_GLOBAL
      const PickleValue name = pop(), module = pop();
      check_here(name.is(PickleKind::string) && module.is(PickleKind::string), FileFault::type,
                 "a global is named by {} and {}", to_string(module.kind()), to_string(name.kind()));
      return push_global(module.text(), name.text()), true;
    }
    case 'R':     // REDUCE
    case 0x81: {  // NEWOBJ
      const PickleValue args = pop(), callable = pop();
      return push_call(callable, args), true;
    }
    case 0x92: {  // NEWOBJ_EX: the keyword arguments become the state
      const PickleValue keywords = pop(), args = pop(), callable = pop();
      push_call(callable, args);
      return top().object()->state = keywords, true;
    }
    case 'b':
      return build(), true;  // BUILD
    case 'Q': {              // BINPERSID
      PickleObject* object = new_object();
      object->args = pop();
      check_here(object->args.is(PickleKind::tuple), FileFault::type, "a persistent id must be a tuple, it is {}",
                 to_string(object->args.kind()));
      push(PickleValue::of(PickleKind::persistent, object));
      charge(2 * sizeof(PickleValue));
      return document_.persistent_.push_back(top()), true;
    }
    default:
      return false;
  }
}

void PickleMachine::push_global(std::string_view module, std::string_view name) {
  PickleNode* node = new_node({PickleValue::of(PickleKind::string, module), PickleValue::of(PickleKind::string, name)});
  const PickleValue global = PickleValue::of(PickleKind::global, node);
  std::string full = std::string(module).append(1, '\0').append(name);
  const uint64_t bytes = full.size() + 64;
  if (seen_globals_.insert(std::move(full)).second) {
    charge(bytes);
    document_.globals_.push_back(global);
  }
  push(global);
}

void PickleMachine::push_call(PickleValue callable, PickleValue args) {
  check_here(callable.is(PickleKind::global) || callable.is(PickleKind::object), FileFault::type, "{} is called",
             to_string(callable.kind()));
  check_here(args.is(PickleKind::tuple), FileFault::type, "the arguments of a call must be a tuple, they are {}",
             to_string(args.kind()));
  PickleObject* object = new_object();
  object->callable = callable;
  object->args = args;
  push(PickleValue::of(PickleKind::object, object));
}

void PickleMachine::build() {
  const PickleValue state = pop(), target = top();
  check_open(target, "BUILD");
  target.object()->state = state;
}

// Depth-first; every node is entered once. Throws for a value that holds itself and for nesting beyond the limit.
int PickleMachine::check_acyclic(const PickleValue& value, int depth) {
  if (!value.has_node()) return 0;
  PickleNode& node = *value.node();
  check_here(node.height != kOpen, FileFault::limit, "{} holds itself", to_string(value.kind()));
  check_here(depth <= limits_.nesting, FileFault::limit, "nested deeper than {} levels", limits_.nesting);
  if (node.height != 0) {
    check_here(depth + node.height - 1 <= limits_.nesting, FileFault::limit, "nested deeper than {} levels",
               limits_.nesting);
    return node.height;
  }
  node.height = kOpen;
  int below = 0;
  const auto visit = [&](const PickleValue& child) { below = std::max(below, check_acyclic(child, depth + 1)); };
  for (const PickleValue& item : node.items) visit(item);
  if (value.is(PickleKind::dict) || value.is(PickleKind::object) || value.is(PickleKind::persistent)) {
    PickleObject& object = *value.object();
    for (const auto& [key, entry] : object.entries) visit(key), visit(entry);
    visit(object.callable), visit(object.args), visit(object.state);
  }
  node.height = static_cast<uint16_t>(below + 1);
  return below + 1;
}

}  // namespace caravan::formats
