#include "caravan/cli/log.h"

#include <cstdio>
#include <string>

namespace caravan::cli {
namespace {

int& verbosity_now() {
  static int verbosity = 0;
  return verbosity;
}

}  // namespace

void set_verbosity(int verbosity) { verbosity_now() = verbosity; }

void log_line(int level, std::string_view line) {
  if (level > verbosity_now()) return;
  const std::string text = "caravan: " + std::string(line) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace caravan::cli
