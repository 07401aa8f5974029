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

const Family& find_family(std::string_view model_type) {
  std::string known;
  for (const Family* family : families()) {
    if (family->name == model_type ||
        std::find(family->aliases.begin(), family->aliases.end(), model_type) != family->aliases.end()) {
      return *family;
    }
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
