#include "caravan/data/interner.h"

#include <functional>
#include <limits>

#include "caravan/base/error.h"

namespace caravan::data {

std::string_view Interner::view(int32_t number) const {
  const auto i = static_cast<size_t>(number);
  return {bytes_.data() + begins_[i], static_cast<size_t>(begins_[i + 1] - begins_[i])};
}

size_t Interner::slot_of(std::string_view text) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = std::hash<std::string_view>{}(text)&mask;
  while (slots_[slot] >= 0 && view(slots_[slot]) != text) slot = (slot + 1) & mask;
  return slot;
}

int32_t Interner::find(std::string_view text) const { return slots_.empty() ? -1 : slots_[slot_of(text)]; }

void Interner::grow() {
  slots_.assign(slots_.empty() ? 1024 : slots_.size() * 2, -1);
  for (int32_t i = 0; i < static_cast<int32_t>(size()); ++i) slots_[slot_of(view(i))] = i;
}

int32_t Interner::intern(std::string_view text) {
  if (static_cast<size_t>(size() + 1) * 2 > slots_.size()) grow();  // at most half full
  const size_t slot = slot_of(text);
  if (slots_[slot] >= 0) return slots_[slot];
  check(size() < std::numeric_limits<int32_t>::max(), ErrorCode::unsupported, "more than 2^31 - 1 different ids");
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  begins_.push_back(bytes_.size());
  return slots_[slot] = static_cast<int32_t>(size() - 1);
}

}  // namespace caravan::data
