// Conversations through chat templates: one {"template", "variables"} a line.
#include <fstream>

#include "caravan/base/error.h"
#include "caravan/base/json.h"
#include "caravan/text/chat_template.h"
#include "differential.h"

namespace caravan::differential {
namespace {

constexpr std::time_t kNow = 1753700000;  // 2025-07-28, as the script fixes it

Json render_case(const Json& c) {
  try {
    text::ChatTemplate chat(c.at("template").get<std::string>(), "case.jinja");
    chat.set_now(kNow);
    return {{"text", chat.render(c.at("variables"))}};
  } catch (const Error& e) {
    return {{"error", e.what()}, {"fault", to_string(e.fault())}};
  }
}

}  // namespace

int render_templates(const std::string& path) {
  std::ifstream in(path);
  std::ofstream out(path + ".out");
  for (std::string line; std::getline(in, line);) {
    out << render_case(parse_json(line, path, {.depth = 100})).dump() << "\n";
  }
  return 0;
}

}  // namespace caravan::differential
