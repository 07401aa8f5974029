// Messages of one or more lines, put together from the lines of a terminal or a pipe: between """ and """, or with \ at
// the end of each line but the last. A line that holds line breaks already (a paste) is a message as it stands.
//
//   MessageReader messages([&](std::string_view prompt, std::string& line) { return editor.read(prompt, line); });
//   for (std::string text; messages.next(text) == LineRead::line;) answer(text);
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace caravan::cli {

// line: a line, without its line break; end: of the input (Ctrl-D); cleared: Ctrl-C after something was typed, which is
// forgotten; interrupted: Ctrl-C with nothing typed.
enum class LineRead { line, end, cleared, interrupted };
using LineSource = std::function<LineRead(std::string_view prompt, std::string& line)>;

class MessageReader {
 public:
  explicit MessageReader(LineSource source) : source_(std::move(source)) {}

  // The next message. The end of the input inside a message ends the message; Ctrl-C inside one forgets all of it.
  LineRead next(std::string& message);

 private:
  LineSource source_;
};

}  // namespace caravan::cli
