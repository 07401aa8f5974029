// Which column of a log is what: by the usual names, or as the user says.
//
//   find_columns({"userId", "movieId", "rating", "timestamp"}, {}, "ratings.csv:1");   // user 0, item 1, rating 2,
//   time 3
//
// Names are compared without case and punctuation ("user_id" = "userId"), RecBole's types behind a colon are left out
// ("user_id:token"). The lists of usual names stand in columns.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace caravan::data {

// Explicit choices: a name in the header, or a number from 1. Empty: by the usual names. "none": there is no such
// column.
struct ColumnNames {
  std::string user, item, time, rating;
};

enum class Header { detect, present, absent };

struct Columns {
  int user = -1, item = -1, time = -1, rating = -1;  // from 0; -1: there is none
  int history = -1;                                  // a list of the items before this one (history_column.h)
  bool header = true;                                // the first record holds names
};

// By a table's first record. Without a header the order is user, item, rating and time, as MovieLens has it; a number
// of 10^6 or more, or a date, in the third column is the time already. Throws invalid_argument where user or item
// cannot be told, naming the columns that are there, and where two columns have the name of one that is needed.
Columns find_columns(const std::vector<std::string_view>& first, const ColumnNames& names, Header header,
                     std::string_view where);

// The same among the keys of a JSON object, which always has names.
Columns find_keys(const std::vector<std::string_view>& keys, const ColumnNames& names, std::string_view where);

// The first of `usual` (simplified names) that stands in the header, or -1.
int find_usual(const std::vector<std::string_view>& header, const std::vector<std::string_view>& usual);

// What chooses a column: "--user-column", by a name or also by a number from 1.
struct ColumnOption {
  std::string_view name;
  bool takes_numbers;
};

// Of two columns of one name neither is the right one: invalid_argument where another has the name of this one (-1:
// none), with both numbers and how to choose.
void check_only(const std::vector<std::string_view>& header, int column, const ColumnOption& option,
                std::string_view where);

const std::vector<std::string_view>& usual_users();  // names of user columns

std::string simplified(std::string_view name);         // "User_ID:token" -> "userid"
std::string_view without_type(std::string_view name);  // "user_id:token" -> "user_id"

}  // namespace caravan::data
