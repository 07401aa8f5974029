// Lines of standard input for a conversation: with editing keys and memory where it is a terminal that can move its
// cursor (line_editor.h), else as they come from a pipe, a file or a plain terminal. Ctrl-C ends no program here.
//
//   Interrupt interrupt(Interrupt::Second::counts);
//   TypedLines lines(interrupt);
//   for (std::string line; lines.next("> ", line) == LineRead::line;) lines.remember(line), use(line);
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "caravan/cli/interrupt.h"
#include "caravan/cli/line_editor.h"
#include "caravan/cli/message_reader.h"

namespace caravan::cli {

class TypedLines {
 public:
  explicit TypedLines(Interrupt& interrupt);  // which outlives this

  LineRead next(std::string_view prompt, std::string& line);  // the prompt is for terminals only
  bool edited() const { return editor_ != nullptr; }          // by keys: what is remembered can be brought back
  void remember(const std::string& entry);                    // for the keys Up and Ctrl-R, where there are any
  bool terminal() const { return terminal_; }                 // somebody types

 private:
  LineRead next_plain(std::string_view prompt, std::string& line);
  Interrupt& interrupt_;
  bool terminal_;
  std::unique_ptr<LineEditor> editor_;
  std::string buffer_;  // of plain input: what was read behind the last line
};

}  // namespace caravan::cli
