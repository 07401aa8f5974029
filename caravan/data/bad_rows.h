// What happens to a row that cannot be read: an error that names file and line, or, where rows may be skipped, a count
// and the first few messages. Nothing is left out silently.
//
//   BadRows bad{.skip = true};
//   if (bad.accept([&] { parse(row); })) use(row);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "caravan/base/error.h"

namespace caravan::data {

struct BadRows {
  bool skip = false;
  int64_t count = 0;
  std::vector<std::string> first{};  // messages of the first few

  static constexpr size_t kKept = 5;

  // Runs `read`; true where it went well. A broken row is counted, or thrown where rows may not be skipped.
  template <class Read>
  bool accept(Read&& read) {
    try {
      read();
      return true;
    } catch (const Error& error) {
      add(error);
      return false;
    }
  }

 private:
  void add(const Error& error);  // called in a handler
};

}  // namespace caravan::data
