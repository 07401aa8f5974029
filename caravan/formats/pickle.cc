// Values and their checks; the machine that makes them is in pickle_machine.cc.
#include "caravan/formats/pickle.h"

namespace caravan::formats {

std::string_view to_string(PickleKind kind) {
  static constexpr std::string_view kNames[] = {"None",     "a bool", "an int",    "a long int",     "a float",
                                                "a string", "bytes",  "a global",  "a list",         "a tuple",
                                                "a dict",   "a set",  "an object", "a persistent id"};
  return kNames[static_cast<size_t>(kind)];
}

PickleValue PickleValue::of(bool value) {
  PickleValue v;
  v.kind_ = PickleKind::boolean;
  v.boolean_ = value;
  return v;
}

PickleValue PickleValue::of(int64_t value) {
  PickleValue v;
  v.kind_ = PickleKind::integer;
  v.integer_ = value;
  return v;
}

PickleValue PickleValue::of(double value) {
  PickleValue v;
  v.kind_ = PickleKind::number;
  v.number_ = value;
  return v;
}

PickleValue PickleValue::of(PickleKind kind, std::string_view bytes) {
  PickleValue v;
  v.kind_ = kind;
  v.length_ = static_cast<uint32_t>(bytes.size());
  v.text_ = bytes.data();
  return v;
}

PickleValue PickleValue::of(PickleKind kind, PickleNode* node) {
  PickleValue v;
  v.kind_ = kind;
  v.node_ = node;
  return v;
}

PickleObject* PickleValue::object() const { return static_cast<PickleObject*>(node_); }

std::span<const PickleValue> PickleValue::items() const {
  if (!has_node() || is(PickleKind::global) || is(PickleKind::dict) || is(PickleKind::persistent)) return {};
  return node_->items;
}

const PickleValue::Entries& PickleValue::entries() const {
  static const Entries kNone;
  return is(PickleKind::dict) || is(PickleKind::object) ? object()->entries : kNone;
}

std::string_view PickleValue::module() const { return is(PickleKind::global) ? node_->items[0].text() : ""; }
std::string_view PickleValue::name() const { return is(PickleKind::global) ? node_->items[1].text() : ""; }

bool PickleValue::is_global(std::string_view module, std::string_view name) const {
  return is(PickleKind::global) && this->module() == module && this->name() == name;
}

}  // namespace caravan::formats
