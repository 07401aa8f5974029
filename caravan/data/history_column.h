// Tables whose rows hold a user's history beside the next item, as MiniOneRec (history_item_id, item_id) and RecBole's
// benchmark files (item_id_list, item_id) have them: rows overlap, one interaction stands in many of them.
//
//   HistoryMerger merger;
//   for (const std::string& item : merger.add("u1", parse_list("[3, 7]"), "9")) ...   // 3, 7, 9
//   merger.add("u1", {"3", "7", "9"}, "4");                                           // 4
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace caravan::data {

// "[3, 7]", "['a', 'b']", "3 7" -> the items. Quotes of both kinds; a quoted item may hold anything but its own quote.
std::vector<std::string> parse_list(std::string_view text);

class HistoryMerger {
 public:
  // What this row tells beyond the rows before it. A history that begins in the middle of what is known (only the
  // newest items are kept in such files) goes on from where both agree; one that agrees nowhere is all new, one that is
  // known as a whole is not.
  std::vector<std::string> add(const std::string& user, std::vector<std::string> history, std::string_view item);

 private:
  std::unordered_map<std::string, std::vector<std::string>> known_;  // of each user, oldest first
};

}  // namespace caravan::data
