// Interactions from JSON: one object a line (Amazon reviews ...), and {"user": [item, item ...]} as LC-Rec, LETTER and
// MiniOneRec keep them, read by events from the mapped file.
#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/lines.h"
#include "caravan/data/log_builder.h"
#include "caravan/data/time.h"

namespace caravan::data {
namespace {

// Ids are strings or integers.
std::string id_of(const Json& value, std::string_view key, std::string_view where) {
  if (value.is_string()) return value.get<std::string>();
  check_file(value.is_number_integer(), FileFault::type, where, "\"{}\": expected a string or an integer, got {}", key,
             dump_json(value, -1).substr(0, 40));
  return dump_json(value, -1);
}

std::optional<double> number_of(const Json& value, bool time) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  return time ? parse_time(text) : parse_number(text);
}

// The keys of the first row that could be read, for all rows.
struct Keys {
  std::string user, item, time, rating;
};

Keys find_row_keys(const Json& row, const ReadOptions& options, std::string_view where) {
  check_file(row.is_object(), FileFault::type, where, "expected a JSON object");
  std::vector<std::string_view> names;
  for (const auto& [key, value] : row.items()) names.emplace_back(key);
  const Columns columns = find_keys(names, options.columns, where);
  const auto name = [&](int column) {
    return column < 0 ? std::string() : std::string(names[static_cast<size_t>(column)]);
  };
  Keys keys{name(columns.user), name(columns.item), name(columns.time), name(columns.rating)};
  check(!options.min_rating || !keys.rating.empty(), ErrorCode::invalid_argument,
        "{}: there is no key of ratings for --min-rating; name it with --rating-column", where);
  return keys;
}

const Json& member(const Json& row, const std::string& key, std::string_view where) {
  const Json* value = find_member(row, key);
  check_file(value != nullptr, FileFault::layout, where, "\"{}\" is missing", key);
  return *value;
}

void add_row(const Json& row, const Keys& keys, const std::string& where, LogBuilder& log) {
  check_file(row.is_object(), FileFault::type, where, "expected a JSON object");
  const auto number = [&](const std::string& key, bool time) {
    const Json& value = member(row, key, where);
    const auto parsed = number_of(value, time);
    check_file(parsed.has_value(), FileFault::type, where, "\"{}\": expected a number{}, got {}", key,
               time ? " or a date" : "", dump_json(value, -1).substr(0, 40));
    return *parsed;
  };
  std::optional<double> rating, time;
  if (log.options().min_rating) rating = number(keys.rating, false);
  if (!keys.time.empty()) {
    time = number(keys.time, true);
    check_file(is_exact_time(*time), FileFault::range, where, "\"{}\": expected {}, got {}", keys.time, kExactTime,
               dump_json(row[keys.time], -1).substr(0, 40));
  }
  const std::string user = id_of(member(row, keys.user, where), keys.user, where),
                    item = id_of(member(row, keys.item, where), keys.item, where);
  const auto place = [&] { return where; };
  if (rating && *rating < *log.options().min_rating) return log.add_low_rating(user, item, place);
  log.add(user, item, time, place);
}

// Events of {"user": [item, ...], ...}.
class InterJson {
 public:
  InterJson(const std::string& path, LogBuilder& log) : path_(path), log_(log) {}
  bool null() { return bad("null"); }
  bool boolean(bool) { return bad("true or false"); }
  bool number_integer(int64_t value) { return add(fmt::format("{}", value)); }
  bool number_unsigned(uint64_t value) { return add(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) { return bad(text); }
  bool string(std::string& value) { return add(value); }
  bool binary(Json::binary_t&) { return bad("binary"); }
  bool start_object(size_t) {
    if (depth_++ > 0) fail_file(FileFault::layout, where(), "expected a list of items, got an object");
    return true;
  }
  bool key(std::string& name) {
    user_ = name;
    check_file(users_.find(name) < 0, FileFault::duplicate, path_, "the user \"{}\" appears twice", name);
    users_.intern(name);
    return true;
  }
  bool start_array(size_t) {
    check_file(depth_ == 1, FileFault::layout, where(), "expected {{\"user\": [item, item ...]}}, got {}",
               depth_ == 0 ? "a list" : "a list in a list");
    ++depth_;
    return true;
  }
  bool end_array() { return --depth_, true; }
  bool end_object() { return --depth_, true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) { fail_json(path_, error); }

 private:
  std::string where() const { return fmt::format("{}: user \"{}\"", path_, user_); }
  bool add(std::string_view item) {
    if (depth_ != 2) return bad(item);
    log_.bad().accept([&] { log_.add(user_, item, std::nullopt, [&] { return where(); }); });
    return true;
  }
  bool bad(std::string_view what) {
    log_.bad().accept(
        [&] { fail_file(FileFault::type, where(), "expected item ids in a list, got {}", what.substr(0, 40)); });
    return true;
  }
  const std::string& path_;
  LogBuilder& log_;
  Interner users_;
  std::string user_;
  int depth_ = 0;
};

}  // namespace

void read_jsonl_log(const std::string& path, LogBuilder& log) {
  LineReader lines(path);
  std::optional<Keys> keys;
  while (lines.next()) {
    if (lines.line().find_first_not_of(" \t") == std::string_view::npos) continue;
    log.bad().accept([&] {
      const std::string where = lines.where();
      const Json row = parse_json(lines.line(), where);
      if (!keys) {
        keys = find_row_keys(row, log.options(), where);
        log.begin_file(path, lines.size(), !keys->time.empty(),
                       fmt::format("jsonl, user = {}, item = {}{}{}", keys->user, keys->item,
                                   keys->time.empty() ? "" : ", time = ", keys->time));
      }
      add_row(row, *keys, where, log);
    });
    if (keys) log.read_to(lines.position());
  }
}

void read_inter_json(const std::string& path, LogBuilder& log) {
  check(!log.options().min_rating, ErrorCode::invalid_argument, "{}: an inter.json has no ratings for --min-rating",
        path);
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  log.begin_file(path, text.size(), false, "inter.json, {\"user\": [item, item ...]}");
  check_json_text(text, path);
  InterJson events(path, log);
  Json::sax_parse(text.begin(), text.end(), &events);
  file->check();
}

}  // namespace caravan::data
