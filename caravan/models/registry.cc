#include "caravan/models/registry.h"

#include <algorithm>
#include <deque>

#include "caravan/base/error.h"

namespace caravan::models {

#define FAMILY(name) const Family& name##_family();
#include "caravan/models/families.inc"
#undef FAMILY

namespace {

struct Registry {
  std::deque<Family> added;  // stable addresses
  std::vector<const Family*> all = {
#define FAMILY(name) &name##_family(),
#include "caravan/models/families.inc"
#undef FAMILY
  };
};

Registry& registry() {
  static Registry instance;
  return instance;
}

}  // namespace

const std::vector<const Family*>& families() { return registry().all; }

const Family* search_family(std::string_view model_type) {
  const auto is_it = [&](const Family* family) {
    return family->name == model_type || std::ranges::find(family->aliases, model_type) != family->aliases.end();
  };
  const auto found = std::ranges::find_if(families(), is_it);
  return found == families().end() ? nullptr : *found;
}

const Family& find_family(std::string_view model_type) {
  if (const Family* family = search_family(model_type)) return *family;
  std::string known;
  for (const Family* family : families()) {
    known += (known.empty() ? "" : ", ") + family->name;
    for (const std::string& alias : family->aliases) known += ", " + alias;
  }
  throw Error(ErrorCode::unsupported,
              fmt::format("the model type \"{}\" is not known; known are {}", model_type, known),
              FileFault::unsupported);
}

void register_family(Family family) {
  Registry& r = registry();
  std::erase_if(r.all, [&](const Family* old) { return old->name == family.name; });
  r.added.push_back(std::move(family));
  r.all.push_back(&r.added.back());
}

}  // namespace caravan::models
