// `caravan recommend --input`: histories in, answers out, a bounded number of them in memory.
#include <chrono>
#include <filesystem>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/input.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/cli/recommend.h"

namespace caravan::cli {
namespace {

constexpr size_t kUsers = 256;          // that are answered together; between two groups Ctrl-C is looked at
constexpr size_t kLineBytes = 1 << 20;  // of lines read at once

struct User {
  Json name;  // null: none given
  std::vector<int32_t> history;
};

int32_t item_of(const Json& id, const RecommendSession& session) {
  check(id.is_string() || id.is_number_integer(), ErrorCode::invalid_argument,
        "an item must be a text or an integer, got {}", dump_json(id, -1).substr(0, 40));
  return session.lookup().resolve(id.is_string() ? id.get<std::string>() : dump_json(id, -1));
}

User parse_user(std::string_view line, const std::string& where, const RecommendSession& session) {
  const size_t start = line.find_first_not_of(" \t\r");
  if (start == std::string_view::npos) return {};  // as "[]": every line has its answer
  if (line[start] != '{' && line[start] != '[') {
    return {.name = {}, .history = session.lookup().resolve_list(line)};
  }
  const Json json = parse_json(line, where);
  const Json* name = find_member(json, "user");
  const Json* items = json.is_array() ? &json : find_member(json, "history");
  check(items != nullptr && items->is_array(), ErrorCode::invalid_argument,
        "expected a list of items or an object with the list \"history\"");
  User user{.name = name == nullptr ? Json() : *name, .history = {}};
  for (const Json& id : *items) user.history.push_back(item_of(id, session));
  return user;
}

// A line's user; errors name the line.
User read_user(std::string_view line, const std::string& where, const RecommendSession& session) {
  try {
    return parse_user(line, where, session);
  } catch (const Error& error) {
    const bool named = std::string_view(error.what()).starts_with(where);
    throw Error(error.code(), named ? error.what() : fmt::format("{}: {}", where, error.what()), error.fault());
  }
}

class AnswerFile {
 public:
  explicit AnswerFile(const std::string& path) {
    if (path != "-") file_.emplace(path);
  }
  void write(const std::string& line) { file_ ? file_->write(line) : print(line); }
  void commit() { file_ ? file_->commit() : flush_output(); }

 private:
  std::optional<AtomicFile> file_;
};

std::string to_line(const User& user, std::span<const generate::Recommendation> found,
                    const items::Catalogue& catalogue) {
  Json out = Json::object();
  if (!user.name.is_null()) out["user"] = user.name;
  out["items"] = Json::array();
  out["scores"] = Json::array();
  for (const auto& recommendation : found) {
    out["items"].push_back(catalogue[recommendation.item].id);
    out["scores"].push_back(recommendation.score);
  }
  return dump_json(out, -1) + "\n";
}

}  // namespace

void recommend_file(RecommendSession& session, const Settings& settings) {
  const Interrupt interrupt;
  const std::string& path = session.options().input;
  std::error_code ignored;
  check(!std::filesystem::equivalent(path, session.options().output, ignored), ErrorCode::invalid_argument,
        "recommend: --input and --output are the same '{}'", path);
  LineReader reader(path);
  AnswerFile out(session.options().output);
  Progress progress("recommending", reader.size(), settings.verbosity >= 0);
  std::vector<std::string> lines;
  uint64_t bytes = 0, users = 0;
  while (reader.next_batch(lines, kLineBytes)) {
    if (reader.first_line() == 1) drop_byte_order_mark(lines[0]);
    for (size_t begin = 0; begin < lines.size(); begin += kUsers) {
      interrupt.check("recommending");
      std::vector<User> group;
      std::vector<std::vector<int32_t>> histories;
      std::vector<std::string> names;
      for (size_t i = begin; i < std::min(begin + kUsers, lines.size()); ++i) {
        bytes += lines[i].size() + 1;
        group.push_back(
            read_user(lines[i], fmt::format("{} line {}", reader.name(), reader.first_line() + i), session));
        histories.push_back(group.back().history);
        const Json& name = group.back().name;
        names.push_back(name.is_string() ? name.get<std::string>() : name.is_null() ? "" : dump_json(name, -1));
      }
      const auto found = session.recommend(histories, names);
      for (size_t i = 0; i < group.size(); ++i) out.write(to_line(group[i], found[i], session.catalogue()));
      users += group.size();
      progress.update(bytes, fmt::format("{:.0f} users/s", static_cast<double>(users) / progress.seconds()));
    }
  }
  out.commit();
  log_info("{} user{} in {}, {:.1f} users/s", users, users == 1 ? "" : "s", human_seconds(progress.seconds()),
           static_cast<double>(users) / progress.seconds());
}

}  // namespace caravan::cli
