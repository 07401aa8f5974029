#include "caravan/cli/history_file.h"

#include <cstdlib>
#include <exception>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/cli/log.h"

namespace caravan::cli {
namespace {

// Nobody else reads what was said: a new folder belongs to the user alone.
void make_private_folder(const std::filesystem::path& folder) {
  if (std::filesystem::is_directory(folder)) return;
  std::filesystem::create_directories(folder);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
}

}  // namespace

std::string HistoryFile::default_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path folder;
  if (state != nullptr && state[0] == '/') {
    folder = state;
  } else if (home != nullptr && home[0] == '/') {
    folder = std::filesystem::path(home) / ".local" / "state";
  } else {
    return "";
  }
  return (folder / "caravan" / "chat_history").string();
}

std::vector<std::string> HistoryFile::load() const {
  std::vector<std::string> entries;
  std::string text;
  try {
    if (!path_.empty() && file_exists(path_)) text = read_file(path_, 4 * kBytes);
  } catch (const Error& error) {
    log_detail("no history: {}", error.what());
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    try {
      const Json entry = parse_json(std::string_view(text).substr(begin, end - begin), path_);
      if (entry.is_string()) entries.push_back(entry.get<std::string>());
    } catch (const Error&) {  // a line that is none of ours
    }
    begin = end + 1;
  }
  return entries;
}

void HistoryFile::append(const std::string& entry) {
  if (path_.empty() || entry.empty() || entry.size() > kEntryBytes) return;
  std::vector<std::string> entries = load();
  if (!entries.empty() && entries.back() == entry) return;
  entries.push_back(entry);
  size_t first = entries.size(), bytes = 0;
  std::vector<std::string> lines;  // latest first
  while (first > 0 && lines.size() < kEntries) {
    lines.push_back(dump_json(Json(entries[--first]), -1) + "\n");
    bytes += lines.back().size();
    if (bytes > kBytes) {
      lines.pop_back();
      break;
    }
  }
  std::string text;
  for (auto it = lines.rbegin(); it != lines.rend(); ++it) text += *it;
  try {
    make_private_folder(std::filesystem::path(path_).parent_path());
    write_file(path_, text);
  } catch (const std::exception& error) {  // read-only, no room: the talk goes on
    log_detail("the history was not written: {}", error.what());
  }
}

}  // namespace caravan::cli
