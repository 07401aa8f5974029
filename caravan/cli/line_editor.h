// Lines typed on a terminal, with libedit: editing keys, history, line breaks inside a line (Alt-Enter, a paste),
// UTF-8, any length. While nothing is being read the terminal shows no keys: they wait for the next line.
//
//   LineEditor editor(interrupt);
//   for (std::string line; editor.read("> ", line) == LineRead::line;) editor.remember(line), use(line);
//
// Draws on standard error. The user's ~/.editrc applies. Leaves out completion.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "caravan/cli/interrupt.h"
#include "caravan/cli/message_reader.h"

namespace caravan::cli {

class LineEditor {
 public:
  static bool usable();  // a terminal to read from and one to draw on, which can move its cursor

  explicit LineEditor(Interrupt& interrupt);  // which outlives the editor
  ~LineEditor();                              // the terminal is as it was

  LineRead read(std::string_view prompt, std::string& line);
  void remember(const std::string& entry);  // for the keys Up and Ctrl-R

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caravan::cli
