#include "caravan/base/asked_keys.h"

namespace caravan {
namespace {

thread_local AskedKeys* listener = nullptr;

}  // namespace

AskedKeys::AskedKeys() : outer_(listener) { listener = this; }

AskedKeys::~AskedKeys() { listener = outer_; }

void AskedKeys::note(std::string_view key) {
  if (listener != nullptr && !listener->keys_.contains(key)) listener->keys_.emplace(key);
}

}  // namespace caravan
