// Interaction logs of every common form, as numbers: who, what, when. Files are streamed; an interaction takes 16
// bytes, and each distinct user or item id is kept once.
//
//   Interactions log = read_interactions({"ratings.csv"}, {.min_rating = 4});
//   log.users.view(log.rows[0].user);                       // "A1YJEY40YUW4SE"
//
// Formats (detected; ReadOptions::format names one):
//   table      CSV (RFC 4180), TSV, any delimiter, with or without a header; RecBole's .inter ("user_id:token")
//   jsonl      one JSON object a line (Amazon reviews)
//   sequences  "user item item ..." a line, oldest first (S3-Rec, P5), and "user item" a line (SASRec)
//   inter_json {"user": [item, item ...]}, oldest first (LC-Rec, LETTER, MiniOneRec: *.inter.json)
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "caravan/data/bad_rows.h"
#include "caravan/data/columns.h"
#include "caravan/data/interner.h"

namespace caravan::data {

struct Interaction {
  int32_t user, item;  // numbers of the interners, in order of first appearance
  double time;         // in the file's unit, dates in seconds since 1970; 0 where the log has no times
};

// Bytes read of all bytes, now and then; may throw to stop.
using ReadProgress = std::function<void(uint64_t done, uint64_t total)>;

struct ReadOptions {
  std::string format;     // empty: detected for each file
  std::string delimiter;  // tables; empty: detected; "tab", "space" or the characters themselves
  Header header = Header::detect;
  ColumnNames columns;
  std::optional<double> min_rating;  // interactions rated lower are left out, and counted
  bool latin1 = false;               // tables: ISO 8859-1 instead of UTF-8
  bool skip_bad_rows = false;
  ReadProgress progress;
};

struct Interactions {
  Interner users, items;
  std::vector<Interaction> rows;  // in file order, file after file
  bool has_times = false;
  int64_t low_ratings = 0;           // left out by min_rating
  BadRows bad;                       // left out by skip_bad_rows
  std::vector<std::string> notes;    // what may be meant otherwise than it was read
  std::vector<std::string> sources;  // "ratings.csv: table, ',', columns userId, movieId, timestamp"
};

// All the files as one log. Throws corrupt_file "PATH:LINE: ..." for a row that cannot be read, unless such rows are to
// be skipped; invalid_argument where a file's form or its columns cannot be told.
Interactions read_interactions(std::span<const std::string> paths, const ReadOptions& options);

// table, jsonl, sequences, inter_json, item_json, index_json: by the name's end and the first lines.
std::string detect_format(const std::string& path);

}  // namespace caravan::data
