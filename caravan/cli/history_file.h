// What was typed in earlier chats: a file of JSON strings, one a line, oldest first, so that entries may have line
// breaks. It never grows beyond its limits and never stands in the way: a file that cannot be read or written is no
// history.
//
//   HistoryFile history(HistoryFile::default_path());
//   for (const std::string& entry : history.load()) editor.remember(entry);
//   history.append("Why is the sky blue?");
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace caravan::cli {

class HistoryFile {
 public:
  static constexpr size_t kEntries = 1000, kEntryBytes = 64 << 10, kBytes = 1 << 20;  // longer entries are not kept

  // $XDG_STATE_HOME/caravan/chat_history, else $HOME/.local/state/caravan/chat_history; empty where neither is set.
  static std::string default_path();

  explicit HistoryFile(std::string path) : path_(std::move(path)) {}  // empty: keeps nothing
  std::vector<std::string> load() const;                              // oldest first
  void append(const std::string& entry);  // entries that other programs wrote meanwhile stay

 private:
  std::string path_;
};

}  // namespace caravan::cli
