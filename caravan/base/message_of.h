// What an error says. Tests only.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "caravan/base/error.h"

namespace caravan {

// "no error" where f throws none.
inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace caravan
