// Which keys a piece of code asks JSON objects for (find_member, get_int and the others): a key of a config that nobody
// asked for says nothing.
//
//   const AskedKeys asked;
//   make_model(config);
//   const std::vector<std::string> known = asked.all();
//
// Objects within objects count too. Of this thread, while the object lives; one inside another takes over from it.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace caravan {

class AskedKeys {
 public:
  AskedKeys();
  ~AskedKeys();
  AskedKeys(const AskedKeys&) = delete;
  std::vector<std::string> all() const { return {keys_.begin(), keys_.end()}; }
  static void note(std::string_view key);  // for the readers in json.cc

 private:
  std::set<std::string, std::less<>> keys_;
  AskedKeys* outer_;
};

}  // namespace caravan
