#include "caravan/data/columns.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "caravan/base/error.h"
#include "caravan/data/time.h"

namespace caravan::data {
namespace {

using Names = std::vector<std::string_view>;

// In each list the first name that is there counts.
const Names& usual_items() {
  static const Names names = {
      "itemid",     "item",    "iid",     "movieid", "parentasin", "asin",       "productid", "bookid",
      "isbn",       "goodsid", "trackid", "songid",  "artistid",   "gameid",     "appid",     "newsid",
      "articleid",  "videoid", "photoid", "poiid",   "gmapid",     "businessid", "recipeid",  "beerid",
      "beerbeerid", "sku",     "movie",   "product", "placeid",    "animeid",    "contentid", "s3id"};
  return names;
}
const Names& usual_times() {
  static const Names names = {"timestamp",     "time",           "ts",       "unixreviewtime", "unixtime",
                              "eventtime",     "eventtimestamp", "datetime", "date",           "createdat",
                              "sorttimestamp", "reviewtime",     "t"};
  return names;
}
const Names& usual_ratings() {
  static const Names names = {"rating",  "ratings",    "score",         "stars",
                              "overall", "bookrating", "reviewoverall", "reviewscore"};
  return names;
}

const Names& usual_histories() {
  static const Names names = {"historyitemid", "itemidlist"};
  return names;
}

Names views(const std::vector<std::string_view>& first) {
  Names names;
  for (const std::string_view name : first) names.push_back(without_type(name));
  return names;
}

// A chosen column: a name that stands there, or a number from 1.
int find_chosen(const Names& header, const std::string& choice, bool named, std::string_view option,
                std::string_view where) {
  if (named) {
    const auto exact = std::find(header.begin(), header.end(), choice);
    if (exact != header.end()) return static_cast<int>(exact - header.begin());
    for (size_t i = 0; i < header.size(); ++i) {
      if (simplified(header[i]) == simplified(choice)) return static_cast<int>(i);
    }
  }
  const bool number = choice.size() < 6 && choice.find_first_not_of("0123456789") == std::string::npos;
  if (number) {
    const int position = std::stoi(choice);
    if (position >= 1 && position <= static_cast<int>(header.size())) return position - 1;
  }
  fail(ErrorCode::invalid_argument, "{}: {} '{}': no such column; there are {}{}", where, option, choice, header.size(),
       named ? fmt::format(": {}", fmt::join(header, ", ")) : " columns, and no header: give its number, from 1");
}

// The columns of a header: chosen ones first, the others by the usual names.
Columns by_names(const Names& header, const ColumnNames& names, std::string_view where) {
  const auto find = [&](const std::string& choice, const Names& usual, std::string_view option) {
    if (choice == "none") return -1;
    const int column = choice.empty() ? find_usual(header, usual) : find_chosen(header, choice, true, option, where);
    if (!parse_number(choice)) check_only(header, column, {option, /*takes_numbers=*/true}, where);
    return column;
  };
  return {.user = find(names.user, usual_users(), "--user-column"),
          .item = find(names.item, usual_items(), "--item-column"),
          .time = find(names.time, usual_times(), "--time-column"),
          .rating = find(names.rating, usual_ratings(), "--rating-column"),
          .history = find_usual(header, usual_histories())};
}

bool looks_like_time(std::string_view value) {
  const auto time = parse_time(value);
  return time && (*time >= 1e6 || !parse_number(value));
}

Columns by_position(const Names& first, const ColumnNames& names, std::string_view where) {
  Columns columns{.user = 0, .item = 1, .header = false};
  if (first.size() == 3) {
    (looks_like_time(first[2]) ? columns.time : columns.rating) = 2;
  } else if (first.size() >= 4 && looks_like_time(first[2]) && !looks_like_time(first[3])) {
    columns.time = 2;
  } else if (first.size() >= 4 && parse_time(first[3])) {
    columns.rating = 2, columns.time = 3;
  }
  const auto choose = [&](int& column, const std::string& choice, std::string_view option) {
    if (choice == "none")
      column = -1;
    else if (!choice.empty())
      column = find_chosen(first, choice, false, option, where);
  };
  choose(columns.user, names.user, "--user-column");
  choose(columns.item, names.item, "--item-column");
  choose(columns.time, names.time, "--time-column");
  choose(columns.rating, names.rating, "--rating-column");
  return columns;
}

void check_columns(const Columns& columns, const Names& header, std::string_view where) {
  const int n = static_cast<int>(header.size());
  for (const auto& [column, option] :
       {std::pair(columns.user, "--user-column"), std::pair(columns.item, "--item-column")}) {
    check(column >= 0 && column < n, ErrorCode::invalid_argument,
          "{}: none of the {} columns is known to be the {} ({}); name it with {} (a name, or a number from 1)", where,
          n, std::string_view(option).substr(2, 4), fmt::join(header, ", "), option);
  }
  check(columns.user != columns.item, ErrorCode::invalid_argument, "{}: user and item are the same column, '{}'", where,
        header[static_cast<size_t>(columns.user)]);
}

}  // namespace

const std::vector<std::string_view>& usual_users() {
  static const Names names = {"userid",    "user",     "uid",       "reviewerid",  "customerid",
                              "visitorid", "memberid", "profileid", "accountid",   "clientid",
                              "playerid",  "readerid", "username",  "profilename", "reviewprofilename",
                              "sessionid", "session",  "playlistid"};
  return names;
}

std::string_view without_type(std::string_view name) {
  for (const std::string_view type : {":token", ":token_seq", ":float", ":float_seq"}) {
    if (name.ends_with(type)) return name.substr(0, name.size() - type.size());
  }
  return name;
}

std::string simplified(std::string_view name) {
  std::string letters;
  for (const char c : without_type(name)) {
    if (c >= 'A' && c <= 'Z')
      letters += static_cast<char>(c - 'A' + 'a');
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80))
      letters += c;
  }
  return letters;
}

int find_usual(const std::vector<std::string_view>& header, const std::vector<std::string_view>& usual) {
  for (const std::string_view name : usual) {
    for (size_t i = 0; i < header.size(); ++i) {
      if (simplified(header[i]) == name) return static_cast<int>(i);
    }
  }
  return -1;
}

void check_only(const std::vector<std::string_view>& header, int column, const ColumnOption& option,
                std::string_view where) {
  for (int i = 0; column >= 0 && i < static_cast<int>(header.size()); ++i) {
    const std::string_view name = header[static_cast<size_t>(column)];
    if (i == column || header[static_cast<size_t>(i)] != name) continue;
    const int first = std::min(i, column) + 1, second = std::max(i, column) + 1;
    fail(ErrorCode::invalid_argument, "{}: columns {} and {} are both called '{}'; {}", where, first, second, name,
         option.takes_numbers ? fmt::format("say which: {} {}", option.name, first)
                              : fmt::format("rename one, or choose another with {}", option.name));
  }
}

Columns find_columns(const std::vector<std::string_view>& first, const ColumnNames& names, Header header,
                     std::string_view where) {
  const Names row = views(first);
  if (header == Header::detect) {
    const bool known = find_usual(row, usual_users()) >= 0 || find_usual(row, usual_items()) >= 0;
    bool chosen = false, number = false, by_number = false;
    for (const std::string_view value : row) number |= parse_number(value).has_value();
    for (const std::string* name : {&names.user, &names.item, &names.time, &names.rating}) {
      by_number |= parse_number(*name).has_value();
      chosen |= std::find(row.begin(), row.end(), *name) != row.end() && !parse_number(*name);
    }
    check(known || chosen || number || !by_number, ErrorCode::invalid_argument,
          "{}: does the first row ({}) hold names or data? say --header or --no-header", where, fmt::join(row, ", "));
    header = known || chosen || !number ? Header::present : Header::absent;
  }
  const Columns columns = header == Header::present ? by_names(row, names, where) : by_position(row, names, where);
  check_columns(columns, row, where);
  return columns;
}

Columns find_keys(const std::vector<std::string_view>& keys, const ColumnNames& names, std::string_view where) {
  const Columns columns = by_names(keys, names, where);
  check_columns(columns, keys, where);
  return columns;
}

}  // namespace caravan::data
