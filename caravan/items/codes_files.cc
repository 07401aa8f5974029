// The files that item codes come in; see codes.h. Their numbers are checked before anything is made of them.
#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_map>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/utf8.h"
#include "caravan/items/codes.h"

namespace caravan::items {
namespace {

constexpr int64_t kMaxCode = (1 << 30) - 1, kMaxLevels = 1024;
constexpr std::string_view kFormat = "caravan.item_codes", kFingerprint = "items_crc32c";

int32_t read_code(const Json& value, std::string_view path, size_t item) {
  check_file(value.is_number_integer(), FileFault::type, path, "item {}: a code must be an integer, got {}", item,
             dump_json(value, -1).substr(0, 40));
  const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= kMaxCode : value.get<int64_t>() >= 0;
  check_file(fits, FileFault::range, path, "item {}: the code {} is outside 0..{}", item, dump_json(value, -1),
             kMaxCode);
  return value.get<int32_t>();
}

// Rows of codes whose sizes are what they hold.
ItemCodes from_rows(const std::vector<std::vector<int32_t>>& rows) {
  std::vector<int32_t> sizes;
  for (const auto& row : rows) {
    if (row.size() > sizes.size()) sizes.resize(row.size(), 1);
    for (size_t level = 0; level < row.size(); ++level) sizes[level] = std::max(sizes[level], row[level] + 1);
  }
  ItemCodes codes(std::move(sizes));
  for (const auto& row : rows) codes.add(row);
  return codes;
}

void check_ids(std::span<const std::string> ids, std::string_view path) {
  std::unordered_map<std::string_view, size_t> seen;
  seen.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto [first, fresh] = seen.emplace(ids[i], i);
    check_file(fresh, FileFault::duplicate, path, "the item id \"{}\" appears twice (rows {} and {})", ids[i],
               first->second + 1, i + 1);
  }
}

ItemCodes codes_of(const Json& json, const std::string& path) {
  const std::string format = get_string(json, "format", path, std::string(kFormat));
  check_file(format == kFormat, FileFault::magic, path, "\"format\" must be \"{}\", got \"{}\"", kFormat, format);
  const int64_t version = get_int(json, "version", path);
  check_file(version == 1, FileFault::version, path, "version {} of item codes; this program reads version 1", version);
  const Json* sizes = find_member(json, "sizes");
  const Json* codes = find_member(json, "codes");
  check_file(sizes != nullptr && sizes->is_array() && codes != nullptr && codes->is_array(), FileFault::type, path,
             "\"sizes\" and \"codes\" must be lists");
  check_file(std::ssize(*sizes) <= kMaxLevels, FileFault::limit, path, "{} code levels, at most {} are possible",
             sizes->size(), kMaxLevels);
  std::vector<int32_t> widths;
  for (const Json& size : *sizes) {
    check_file(size.is_number_integer(), FileFault::type, path, "\"sizes\" must hold integers");
    check_file(size.get<int64_t>() >= 1 && size.get<int64_t>() <= kMaxCode + 1, FileFault::range, path,
               "a level of {} codes; between 1 and {} are possible", dump_json(size, -1), kMaxCode + 1);
    widths.push_back(size.get<int32_t>());
  }
  ItemCodes all(widths);
  std::vector<int32_t> row;
  for (const Json& tuple : *codes) {
    const auto item = static_cast<size_t>(all.items());
    check_file(tuple.is_array(), FileFault::type, path, "item {}: its codes must be a list", item);
    row.clear();
    for (const Json& code : tuple) row.push_back(read_code(code, path, item));
    check_file(!row.empty() && row.size() <= widths.size(), FileFault::range, path,
               "item {}: {} codes; between 1 and {} are possible", item, row.size(), widths.size());
    for (size_t level = 0; level < row.size(); ++level) {
      check_file(row[level] < widths[level], FileFault::range, path, "item {}: code {} of a level with {} codes", item,
                 row[level], widths[level]);
    }
    all.add(row);
  }
  return all;
}

// Nothing in a tuple of codes says which item it belongs to: codes of another numbering would be wrong silently.
ItemCodes codes_of(const Json& json, const std::string& path, std::span<const std::string> ids) {
  constexpr std::string_view kAdvice = "`caravan items build` makes codes for this data set";
  ItemCodes codes = codes_of(json, path);
  check_file(codes.items() == std::ssize(ids), FileFault::layout, path,
             "codes of {} items, but there are {}: they were made for another data set; {}", codes.items(), ids.size(),
             kAdvice);
  constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
  const int64_t made_for = get_int(json, kFingerprint, path, {.min = 0, .max = kMax}, -1);
  check_file(made_for < 0 || made_for == fingerprint(ids), FileFault::checksum, path,
             "the codes were made for other items, or for these in another order (the ids' fingerprint is {:08x}, not "
             "{:08x}); {}",
             fingerprint(ids), made_for, kAdvice);
  return codes;
}

NamedCodes index_of(const Json& json, const std::string& path) {
  NamedCodes named;
  std::vector<std::vector<int32_t>> rows;
  for (const auto& [id, words] : json.get_ref<const Json::object_t&>()) {
    check_file(words.is_array() && !words.empty(), FileFault::type, path, "item \"{}\" must hold a list of codes", id);
    auto& row = rows.emplace_back();
    for (const Json& word : words) {
      check_file(word.is_string(), FileFault::type, path, "item \"{}\": a code must be a text such as \"<a_12>\"", id);
      const auto code = parse_code_token(word.get_ref<const std::string&>());
      check_file(code && code->level == std::ssize(row) && code->code <= kMaxCode, FileFault::range, path,
                 "item \"{}\": expected a code of level {} such as \"{}\", got \"{}\"", id,
                 level_letters(std::ssize(row)), code_token(std::ssize(row), 12), word.get_ref<const std::string&>());
      row.push_back(code->code);
    }
    named.ids.push_back(id);
  }
  check_file(!rows.empty(), FileFault::layout, path, "there are no items in it");
  check_ids(named.ids, path);
  named.codes = from_rows(rows);
  return named;
}

std::vector<std::string_view> split(std::string_view line, char delimiter) {
  std::vector<std::string_view> cells;
  if (line.ends_with('\r')) line.remove_suffix(1);
  for (size_t at = 0; at <= line.size();) {
    const size_t end = std::min(line.find(delimiter, at), line.size());
    cells.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return cells;
}

std::vector<int32_t> read_row(const std::vector<std::string_view>& cells, const std::string& path, size_t line) {
  std::vector<int32_t> row;
  for (size_t i = 1; i < cells.size(); ++i) {
    if (cells[i].empty()) {
      const bool rest_empty = std::all_of(cells.begin() + static_cast<int64_t>(i), cells.end(),
                                          [](std::string_view cell) { return cell.empty(); });
      check_file(rest_empty, FileFault::range, path, "line {}: column {} is empty", line, i + 1);
      break;
    }
    int32_t code = -1;
    const auto [end, error] = std::from_chars(cells[i].data(), cells[i].data() + cells[i].size(), code);
    check_file(error == std::errc() && end == cells[i].data() + cells[i].size() && code >= 0 && code <= kMaxCode,
               FileFault::range, path, "line {}: column {} must be a code (0..{}), got \"{}\"", line, i + 1, kMaxCode,
               cells[i].substr(0, 40));
    row.push_back(code);
  }
  check_file(!row.empty(), FileFault::range, path, "line {}: an item without codes", line);
  return row;
}

NamedCodes table_of(std::string_view text, char delimiter, const std::string& path) {
  NamedCodes named;
  std::vector<std::vector<int32_t>> rows;
  size_t line = 0, columns = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const auto cells = split(text.substr(0, end), delimiter);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (++line == 1) {
      columns = cells.size();
      check_file(columns >= 2 && std::ssize(cells) <= kMaxLevels, FileFault::layout, path,
                 "line 1: expected a header with the item's id and one column a code level");
      continue;
    }
    if (cells.size() == 1 && cells[0].empty()) continue;
    check_file(cells.size() == columns, FileFault::layout, path, "line {}: {} columns, the header has {}", line,
               cells.size(), columns);
    check_file(!cells[0].empty(), FileFault::range, path, "line {}: the item's id is empty", line);
    named.ids.emplace_back(cells[0]);
    rows.push_back(read_row(cells, path, line));
  }
  check_file(!rows.empty(), FileFault::layout, path, "there are no items in it{}",
             line == 0 ? ": the file is empty" : ", nothing but a header");
  check_ids(named.ids, path);
  named.codes = from_rows(rows);
  return named;
}

NamedCodes numbered(ItemCodes codes) {
  NamedCodes named{.ids = {}, .codes = std::move(codes)};
  for (int64_t item = 0; item < named.codes.items(); ++item) named.ids.push_back(std::to_string(item));
  return named;
}

bool is_codes_file(const Json& json) { return find_member(json, "sizes") != nullptr; }

Json read_object(const std::string& path) {
  Json json = parse_json(read_file(path), path);
  check_file(json.is_object(), FileFault::type, path, "expected a JSON object at the top");
  return json;
}

Json read_codes_object(const std::string& path) {
  Json json = read_object(path);
  check_file(is_codes_file(json), FileFault::layout, path,
             "not a codes.json (no \"sizes\"); an index.json is taken in by `caravan items`");
  return json;
}

bool is_json(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  return start != std::string_view::npos && text[start] == '{';
}

}  // namespace

uint32_t fingerprint(std::span<const std::string> ids) {
  uint32_t crc = 0;
  for (const std::string& id : ids) crc = crc32c(std::as_bytes(std::span(id.c_str(), id.size() + 1)), crc);
  return crc;
}

ItemCodes read_codes(const std::string& path) { return codes_of(read_codes_object(path), path); }

ItemCodes read_codes(const std::string& path, std::span<const std::string> ids) {
  return codes_of(read_codes_object(path), path, ids);
}

std::string codes_json(const ItemCodes& codes, std::span<const std::string> ids) {
  check(ids.empty() || std::ssize(ids) == codes.items(), ErrorCode::invalid_argument,
        "{} ids for the codes of {} items", ids.size(), codes.items());
  std::string text = fmt::format("{{\"format\": \"{}\", \"version\": 1, ", kFormat);
  if (!ids.empty()) text += fmt::format("\"{}\": {}, ", kFingerprint, fingerprint(ids));
  text += fmt::format("\"sizes\": [{}], \"codes\": [\n", fmt::join(codes.sizes(), ", "));
  for (int64_t item = 0; item < codes.items(); ++item)
    text += fmt::format("[{}]{}\n", fmt::join(codes.codes(item), ", "), item + 1 < codes.items() ? "," : "");
  return text + "]}\n";
}

void write_codes(const ItemCodes& codes, const std::string& path, std::span<const std::string> ids) {
  write_file(path, codes_json(codes, ids));
}

NamedCodes read_index_json(const std::string& path) { return index_of(read_object(path), path); }

void write_index_json(const ItemCodes& codes, std::span<const std::string> ids, const std::string& path) {
  check(std::ssize(ids) == codes.items(), ErrorCode::invalid_argument, "{} ids for the codes of {} items", ids.size(),
        codes.items());
  AtomicFile out(path);
  out.write("{");
  for (int64_t item = 0; item < codes.items(); ++item) {
    std::vector<std::string> words;
    for (int32_t code : codes.codes(item)) words.push_back("\"" + code_token(std::ssize(words), code) + "\"");
    out.write(fmt::format("{}{}: [{}]", item > 0 ? ", " : "", dump_json(Json(ids[item]), -1), fmt::join(words, ", ")));
  }
  out.write("}");
  out.commit();
}

NamedCodes read_codes_table(const std::string& path, char delimiter) {
  const std::string text = read_file(path);
  const size_t bad = find_invalid_utf8(text);
  check_file(bad == std::string_view::npos, FileFault::utf8, path, "invalid UTF-8 at byte {}", bad);
  return table_of(text, delimiter, path);
}

NamedCodes read_named_codes(const std::string& path) {
  const std::string text = read_file(path);
  if (!is_json(text)) {
    return read_codes_table(path, text.substr(0, text.find('\n')).find('\t') == std::string::npos ? ',' : '\t');
  }
  const Json json = read_object(path);
  return is_codes_file(json) ? numbered(codes_of(json, path)) : index_of(json, path);
}

ItemCodes arrange(const NamedCodes& codes, std::span<const std::string> ids) {
  std::unordered_map<std::string_view, int64_t> rows;
  for (size_t i = 0; i < codes.ids.size(); ++i) rows.emplace(codes.ids[i], static_cast<int64_t>(i));
  ItemCodes arranged(std::vector<int32_t>(codes.codes.sizes().begin(), codes.codes.sizes().end()));
  std::vector<std::string> missing;
  for (const std::string& id : ids) {
    const auto row = rows.find(id);
    if (row == rows.end()) {
      missing.push_back(id);
    } else if (missing.empty()) {
      arranged.add(codes.codes.codes(row->second));
    }
  }
  constexpr size_t kShown = 5;
  const std::span<const std::string> shown(missing.data(), std::min(missing.size(), kShown));
  check(missing.empty(), ErrorCode::not_found, "{} of {} items have no codes: {}{}", missing.size(), ids.size(),
        fmt::join(shown, ", "), missing.size() > kShown ? " ..." : "");
  return arranged;
}

ItemCodes read_codes_for(std::span<const std::string> ids, const std::string& path) {
  if (is_json(read_file(path))) {
    const Json json = read_object(path);
    if (is_codes_file(json)) return codes_of(json, path, ids);
  }
  return arrange(read_named_codes(path), ids);
}

}  // namespace caravan::items
