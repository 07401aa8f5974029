#include "caravan/cli/message_reader.h"

namespace caravan::cli {

LineRead MessageReader::next(std::string& message) {
  constexpr std::string_view kQuotes = "\"\"\"";
  message.clear();
  bool quoted = false, continued = false;
  for (std::string line;;) {
    const bool inside = quoted || continued;
    const LineRead read = source_(inside ? "... " : "> ", line);
    if (read == LineRead::end && inside) {
      if (message.ends_with('\n')) message.pop_back();
      return LineRead::line;
    }
    if (read != LineRead::line) {
      message.clear();
      return inside && read == LineRead::interrupted ? LineRead::cleared : read;
    }
    const bool pasted = line.find('\n') != std::string::npos;
    if (!inside && !pasted && line.starts_with(kQuotes)) quoted = true, line.erase(0, kQuotes.size());
    if (quoted) {
      const bool closes = line.ends_with(kQuotes);
      message += closes ? line.substr(0, line.size() - kQuotes.size()) : line + "\n";
      if (closes) {
        if (line == kQuotes && message.ends_with('\n')) message.pop_back();  // quotes on lines of their own
        if (message.starts_with('\n')) message.erase(0, 1);
        return LineRead::line;
      }
      continue;
    }
    continued = !pasted && line.ends_with('\\');
    message += continued ? line.substr(0, line.size() - 1) + "\n" : line;
    if (!continued) return LineRead::line;
  }
}

}  // namespace caravan::cli
