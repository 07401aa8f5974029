// "user item item ..." a line, oldest first (S3-Rec, P5, TIGER's repositories), which "user item" a line (SASRec) is a
// case of: a user may have several lines, and their items follow each other.
#include "caravan/base/error.h"
#include "caravan/base/lines.h"
#include "caravan/data/log_builder.h"
#include "caravan/data/words.h"

namespace caravan::data {

void read_sequence_lines(const std::string& path, LogBuilder& log) {
  check(!log.options().min_rating, ErrorCode::invalid_argument,
        "{}: lines of item sequences have no ratings for --min-rating", path);
  LineReader lines(path);
  log.begin_file(path, lines.size(), false, "sequences, a line \"user item item ...\"");
  const auto where = [&] { return lines.where(); };
  std::vector<std::string_view> words;
  while (lines.next()) {
    split_words(lines.line(), words);
    if (words.empty()) continue;
    log.bad().accept([&] {
      check_file(words.size() > 1, FileFault::layout, lines.where(), "expected \"user item item ...\", got only '{}'",
                 words[0].substr(0, 40));
      for (size_t i = 1; i < words.size(); ++i) log.add(words[0], words[i], std::nullopt, where);
    });
    log.read_to(lines.position());
  }
}

}  // namespace caravan::data
