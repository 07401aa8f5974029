// Every form gives records of (name, value) pairs; one place makes items of them.
#include "caravan/data/descriptions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/lines.h"
#include "caravan/base/utf8.h"
#include "caravan/data/columns.h"
#include "caravan/data/table.h"
#include "caravan/data/words.h"
#include "caravan/items/codes.h"

namespace caravan::data {
namespace {

using Names = std::vector<std::string_view>;

const Names& usual_ids() {
  static const Names names = {"itemid", "item",       "iid",       "id",     "movieid",
                              "asin",   "parentasin", "productid", "bookid", "isbn"};
  return names;
}
const Names& usual_titles() {
  static const Names names = {"title",     "name",         "itemtitle",   "itemname",     "movietitle",
                              "moviename", "producttitle", "productname", "booktitle",    "trackname",
                              "songtitle", "headline",     "gametitle",   "originaltitle"};
  return names;
}
const Names& usual_categories() {
  static const Names names = {"categories", "category", "genres",       "genre", "class",
                              "attributes", "tags",     "itemcategory", "type"};
  return names;
}

// Of another numbering than the one in use: a word of its own for every item, which tells a model nothing.
bool is_other_id(std::string_view name) {
  const std::string plain = simplified(name);
  return name.ends_with("_id") || name.ends_with("Id") ||
         (plain != "item" && std::ranges::find(usual_ids(), plain) != usual_ids().end());
}

// Which columns of a file are what.
struct Layout {
  std::vector<std::string> names;  // without types
  int id = -1, title = -1, categories = -1;
  bool spaced_categories = false;
  std::vector<int> text;
};

int find_name(const std::vector<std::string>& names, const std::string& choice, std::string_view option,
              std::string_view where) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == choice || simplified(names[i]) == simplified(choice)) return static_cast<int>(i);
  }
  fail(ErrorCode::invalid_argument, "{}: {} '{}': no such column; there are {}", where, option, choice,
       fmt::join(names, ", "));
}

Layout find_layout(const std::vector<std::string>& header, int id, const DescriptionOptions& options,
                   std::string_view where) {
  Layout layout{.id = id};
  for (const std::string& name : header) layout.names.emplace_back(without_type(name));
  const Names names(layout.names.begin(), layout.names.end());
  const auto choose = [&](const std::string& choice, const Names& usual, std::string_view option) {
    if (choice == "none") return -1;
    const int column = choice.empty() ? find_usual(names, usual) : find_name(layout.names, choice, option, where);
    return column == id ? -1 : column;
  };
  layout.title = choose(options.title_column, usual_titles(), "--title-column");
  layout.categories = choose(options.category_column, usual_categories(), "--category-column");
  check_only(names, layout.title, {"--title-column", /*takes_numbers=*/false}, where);
  check_only(names, layout.categories, {"--category-column", /*takes_numbers=*/false}, where);
  if (layout.categories >= 0)
    layout.spaced_categories = header[static_cast<size_t>(layout.categories)].ends_with(":token_seq");
  for (const std::string& name : options.text_columns) {
    if (name != "none") layout.text.push_back(find_name(layout.names, name, "--text-columns", where));
  }
  for (int i = 0; options.text_columns.empty() && i < static_cast<int>(header.size()); ++i) {
    const std::string& name = header[static_cast<size_t>(i)];
    const bool number = name.ends_with(":float") || name.ends_with(":float_seq");
    const bool taken = i == id || i == layout.title || i == layout.categories;
    if (!taken && !number && !is_other_id(without_type(name))) layout.text.push_back(i);
  }
  return layout;
}

bool is_link(std::string_view value) { return value.starts_with("http://") || value.starts_with("https://"); }

void append_text(std::string& text, std::string_view name, std::string_view value) {
  const std::string words = without_list_syntax(std::string(trimmed(value)));
  if (words.empty() || is_link(words)) return;
  text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", name, words);
}

items::Item make_item(const Layout& layout, std::span<const std::string_view> fields, const std::string& where) {
  const auto field = [&](int column) { return trimmed(fields[static_cast<size_t>(column)]); };
  for (const std::string_view value : fields) {
    check_file(find_invalid_utf8(value) == std::string_view::npos, FileFault::utf8, where,
               "not valid UTF-8 (--latin1 reads ISO 8859-1)");
  }
  items::Item item{.id = std::string(fields[static_cast<size_t>(layout.id)])};
  check_file(!item.id.empty(), FileFault::range, where, "the item id is empty");
  if (layout.title >= 0) item.title = field(layout.title);
  if (layout.categories >= 0) item.categories = split_categories(field(layout.categories), layout.spaced_categories);
  for (const int column : layout.text) append_text(item.text, layout.names[static_cast<size_t>(column)], field(column));
  return item;
}

// Files complete each other; within one file an id comes once.
class Joiner {
 public:
  explicit Joiner(Descriptions& to) : to_(to) {}
  void add(items::Item item, const std::string& where) {
    check_file(seen_.insert(item.id).second, FileFault::duplicate, where,
               "the item '{}' is described twice in this file", item.id);
    const auto [at, added] = to_.items.try_emplace(item.id, item);
    if (added) return;
    items::Item& known = at->second;
    if (known.title.empty()) known.title = std::move(item.title);
    if (known.text.empty()) known.text = std::move(item.text);
    if (known.categories.empty()) known.categories = std::move(item.categories);
    if (known.codes.empty()) known.codes = std::move(item.codes);
  }

 private:
  Descriptions& to_;
  std::unordered_set<std::string> seen_;
};

std::string layout_words(const Layout& layout) {
  std::string words = fmt::format("id = {}", layout.names[static_cast<size_t>(layout.id)]);
  if (layout.title >= 0) words += fmt::format(", title = {}", layout.names[static_cast<size_t>(layout.title)]);
  if (layout.categories >= 0)
    words += fmt::format(", categories = {}", layout.names[static_cast<size_t>(layout.categories)]);
  for (size_t i = 0; i < layout.text.size(); ++i)
    words += fmt::format("{}{}", i == 0 ? ", text = " : " + ", layout.names[static_cast<size_t>(layout.text[i])]);
  return words;
}

TableOptions table_options(const std::string& path, const DescriptionOptions& options) {
  return {.delimiter = options.delimiter, .quotes = !path.ends_with(".item"), .latin1 = options.latin1};
}

// The column that holds most of the log's item ids, among the first rows; -1 where none holds any.
int find_id_column(const std::string& path, const Interner& known, const DescriptionOptions& options) {
  constexpr int kRows = 5000;
  TableReader table(path, table_options(path, options));
  std::vector<std::unordered_set<int32_t>> found;
  std::vector<std::string> names;
  for (int row = 0; row < kRows; ++row) {
    BadRows any{.skip = true};  // the reading proper reports them
    bool more = true;
    if (!any.accept([&] { more = table.next(); })) continue;
    if (!more) break;
    if (found.empty()) names.assign(table.fields().begin(), table.fields().end()), found.resize(names.size());
    for (size_t i = 0; i < found.size(); ++i) {
      const int32_t id = known.find(table.trimmed_field(i));
      if (id >= 0) found[i].insert(id);
    }
  }
  int best = find_usual(Names(names.begin(), names.end()), usual_ids());
  for (size_t i = 0; i < found.size(); ++i) {
    const size_t most = best < 0 ? 0 : found[static_cast<size_t>(best)].size();
    if (found[i].size() > most) best = static_cast<int>(i);
  }
  return best < 0 || found[static_cast<size_t>(best)].empty() ? -1 : best;
}

void read_table(const std::string& path, const Interner& known, const DescriptionOptions& options, Descriptions& to) {
  const int matching = options.id_column.empty() ? find_id_column(path, known, options) : -1;
  TableReader table(path, table_options(path, options));
  check_file(table.next(), FileFault::layout, path, "the file is empty");
  const std::vector<std::string> header(table.fields().begin(), table.fields().end());
  std::vector<std::string> names;
  for (const std::string& name : header) names.emplace_back(without_type(name));
  const int id = options.id_column.empty() ? matching : find_name(names, options.id_column, "--item-id-column", path);
  check(id >= 0, ErrorCode::invalid_argument,
        "{}: no column holds ids of the log's items (columns: {}); name one with --item-id-column", path,
        fmt::join(names, ", "));
  const Layout layout = find_layout(header, id, options, table.where());
  to.sources.push_back(fmt::format("{}: table, {}", path, layout_words(layout)));
  Joiner joiner(to);
  Names fields(header.size());
  for (bool more = true; more;) {
    to.bad.accept([&] {
      more = table.next();
      for (size_t i = 0; more && i < fields.size(); ++i) fields[i] = table.trimmed_field(i);
      if (more) joiner.add(make_item(layout, fields, table.where()), table.where());
    });
  }
}

// A JSON value as text: lists are joined by " | ", numbers and strings as they are, the rest left out.
void append_value(std::string& text, const Json& value) {
  if (value.is_array()) {
    for (const Json& element : value) append_value(text, element);
  } else if (value.is_string() || value.is_number()) {
    const std::string words = value.is_string() ? value.get<std::string>() : dump_json(value, -1);
    if (!words.empty()) text += (text.empty() ? "" : " | ") + words;
  }
}

// An object's members as a record; `id` is given where the object stands under it.
items::Item item_of(const Json& object, const std::string* id, const DescriptionOptions& options,
                    const std::string& where) {
  check_file(object.is_object(), FileFault::type, where, "expected an object that describes an item");
  std::vector<std::string> names, values;
  if (id != nullptr) names.emplace_back("id of the object"), values.push_back(*id);
  for (const auto& [key, value] : object.items()) {
    names.push_back(key);
    append_value(values.emplace_back(), value);
  }
  int column = id != nullptr ? 0 : find_usual(Names(names.begin(), names.end()), usual_ids());
  if (id == nullptr && !options.id_column.empty())
    column = find_name(names, options.id_column, "--item-id-column", where);
  check_file(column >= 0, FileFault::layout, where,
             "no key is known to be the item id ({}); name it with --item-id-column", fmt::join(names, ", "));
  // A key that this item lacks is no mistake: only what is there is looked for.
  DescriptionOptions present = options;
  const auto missing = [&](const std::string& name) {
    return name != "none" && !name.empty() && std::find(names.begin(), names.end(), name) == names.end();
  };
  if (missing(present.title_column)) present.title_column = "none";
  if (missing(present.category_column)) present.category_column = "none";
  std::erase_if(present.text_columns, missing);
  if (!options.text_columns.empty() && present.text_columns.empty()) present.text_columns = {"none"};
  const Names fields(values.begin(), values.end());
  return make_item(find_layout(names, column, present, where), fields, where);
}

// Columns that were chosen for JSON, whose objects need not all have them: one of them must.
class ChosenKeys {
 public:
  explicit ChosenKeys(const DescriptionOptions& options) {
    take("--title-column", options.title_column);
    take("--category-column", options.category_column);
    for (const std::string& name : options.text_columns) take("--text-columns", name);
  }
  void see(const Json& object) {
    if (!object.is_object()) return;
    ++objects_;
    std::erase_if(missing_, [&](const auto& chosen) { return object.contains(chosen.second); });
  }
  void check_seen(const std::string& path) const {
    if (objects_ == 0 || missing_.empty()) return;
    fail(ErrorCode::invalid_argument, "{}: {} '{}': none of the {} items has such a key", path, missing_.front().first,
         missing_.front().second, objects_);
  }

 private:
  void take(const char* option, const std::string& name) {
    if (!name.empty() && name != "none") missing_.emplace_back(option, name);
  }
  std::vector<std::pair<const char*, std::string>> missing_;
  int64_t objects_ = 0;
};

void read_lines(const std::string& path, const DescriptionOptions& options, Descriptions& to) {
  to.sources.push_back(path + ": jsonl");
  LineReader lines(path);
  Joiner joiner(to);
  ChosenKeys chosen(options);
  while (lines.next()) {
    if (trimmed(lines.line()).empty()) continue;
    to.bad.accept([&] {
      const std::string where = lines.where();
      const Json object = parse_json(lines.line(), where);
      chosen.see(object);
      joiner.add(item_of(object, nullptr, options, where), where);
    });
  }
  chosen.check_seen(path);
}

// {"id": {...}} and {"id": ["<a_1>", ...]}: small enough to be read whole.
void read_document(const std::string& path, const DescriptionOptions& options, Descriptions& to) {
  const Json document = parse_json(read_file(path), path);
  check_file(document.is_object(), FileFault::type, path, "expected {{\"item id\": ...}}");
  to.sources.push_back(path + ": JSON object of items");
  Joiner joiner(to);
  ChosenKeys chosen(options);
  for (const auto& [id, value] : document.items()) {
    chosen.see(value);
    const std::string where = fmt::format("{}: item \"{}\"", path, id);
    to.bad.accept([&, &id = id, &value = value] {
      if (!value.is_array()) return joiner.add(item_of(value, &id, options, where), where);
      items::Item item{.id = id};
      check_file(!id.empty(), FileFault::range, where, "the item id is empty");
      for (const Json& word : value) {
        check_file(word.is_string(), FileFault::type, where, "expected code words such as \"<a_101>\"");
        item.codes.push_back(word.get<std::string>());
        const auto code = items::parse_code_token(item.codes.back());
        const auto level = std::ssize(item.codes) - 1;
        check_file(code && code->level == level, FileFault::range, where,
                   "expected a code of level {} such as \"{}\", got \"{}\"", items::level_letters(level),
                   items::code_token(level, 12), item.codes.back().substr(0, 40));
      }
      joiner.add(std::move(item), where);
    });
  }
  chosen.check_seen(path);
}

}  // namespace

bool looks_like_descriptions(const std::string& path) {
  if (path.ends_with(".item")) return true;
  const std::string format = detect_format(path);
  if (format == "item_json" || format == "index_json") return true;
  std::vector<std::string> header;
  BadRows unreadable{.skip = true};  // whoever reads the file says what is wrong with it
  unreadable.accept([&] {
    if (format == "table") {
      TableReader table(path, {});
      if (table.next()) header.assign(table.fields().begin(), table.fields().end());
    } else if (format == "jsonl") {
      LineReader lines(path);
      const Json row = lines.next() ? parse_json(lines.line(), lines.where()) : Json::object();
      for (const auto& [key, value] : row.items()) header.push_back(key);
    }
  });
  const Names names(header.begin(), header.end());
  return find_usual(names, usual_titles()) >= 0 && find_usual(names, usual_users()) < 0;
}

std::vector<std::string> split_categories(std::string_view text, bool spaced) {
  const char separator = text.find('|') != std::string_view::npos ? '|' : spaced ? ' ' : ',';
  std::vector<std::string> categories;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    const std::string_view part = trimmed(text.substr(begin, end - begin));
    if (!part.empty() && std::find(categories.begin(), categories.end(), part) == categories.end())
      categories.emplace_back(part);
    begin = end + 1;
  }
  return categories;
}

std::string without_list_syntax(const std::string& text) {
  if (text == "[]") return "";
  if (text.size() < 4 || !(text.starts_with("['") || text.starts_with("[\"")) ||
      !(text.ends_with("']") || text.ends_with("\"]")))
    return text;
  std::string plain = text.substr(2, text.size() - 4);
  for (const std::string_view between : {"', '", "\", \"", "', \"", "\", '"}) {
    for (size_t at = 0; (at = plain.find(between, at)) != std::string::npos;) plain.replace(at, between.size(), " ");
  }
  return plain;
}

Descriptions read_descriptions(std::span<const std::string> paths, const Interner& known,
                               const DescriptionOptions& options) {
  Descriptions about;
  about.bad.skip = options.skip_bad_rows;
  for (const std::string& path : paths) {
    const std::string format = options.format.empty() ? detect_format(path) : options.format;
    if (format == "table") {
      read_table(path, known, options, about);
    } else if (format == "jsonl") {
      read_lines(path, options, about);
    } else if (format == "item_json" || format == "index_json") {
      read_document(path, options, about);
    } else {
      fail(ErrorCode::invalid_argument,
           "{}: '{}' is no format of item descriptions; there are table, jsonl, item_json and index_json", path,
           format);
    }
  }
  return about;
}

}  // namespace caravan::data
