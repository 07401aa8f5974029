// `caravan recommend`: the items that follow a history, once, in a conversation, or from file to file.
#include "caravan/cli/recommend.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/nearest.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/model_recommender.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/output_path.h"
#include "caravan/cli/typed_lines.h"
#include "caravan/generate/resemblance.h"

namespace caravan::cli {
namespace {

constexpr size_t kReasons = 3;  // of --explain, an item
constexpr int64_t kBeams = 50;  // without --beams, for that many items or fewer

std::string name_of(const items::Item& item) { return item.title.empty() ? item.id : item.title; }

Json to_json(const items::Item& item) { return {{"id", item.id}, {"title", item.title}}; }

void answer(RecommendSession& session, const std::vector<int32_t>& history) {
  const auto found = session.recommend(std::span(&history, 1), std::span(&session.options().user, 1))[0];
  if (session.options().json) {
    print_json(session.json(history, found));
  } else {
    print(session.table(history, found));
  }
  flush_output();
}

constexpr const char* kTyped =
    "items          their ids, titles or code words (<a_1><b_2>), separated by commas: added to the history, answered\n"
    "/history       the items so far\n"
    "/clear         forgets them\n"
    "/help          this list\n"
    "/quit, /exit   leaves, as Ctrl-D does; Ctrl-C clears a line that is half typed\n";

// Lines that are typed or come through a pipe: each adds items to the history and is answered.
class Talk {
 public:
  explicit Talk(RecommendSession& session) : session_(session) {}

  void run() {
    Interrupt interrupt(Interrupt::Second::counts);
    TypedLines lines(interrupt);
    log_info("{} items. Type items (ids, titles or codes, separated by commas); /help lists what else can be typed",
             session_.catalogue().size());
    int interrupts = 0;
    for (std::string typed;;) {
      const LineRead read = lines.next("> ", typed);
      interrupts = read == LineRead::interrupted ? interrupts + 1 : 0;
      check(!interrupt.terminated(), ErrorCode::cancelled, "terminated");
      if (read == LineRead::end || interrupts == 2) return;
      if (interrupts == 1) log_info("Ctrl-C once more leaves, and so does Ctrl-D");
      if (read != LineRead::line) continue;
      lines.remember(typed);
      for (std::string_view rest = typed; !rest.empty();) {  // a paste holds several lines
        const size_t end = std::min(rest.find('\n'), rest.size());
        if (!take(trimmed(rest.substr(0, end)))) return;
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
      interrupt.clear();
    }
  }

 private:
  static std::string_view trimmed(std::string_view line) {
    const size_t begin = std::min(line.find_first_not_of(" \t\r"), line.size());
    return line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
  }

  // False to leave.
  bool take(std::string_view line) {
    if (line.empty()) return true;
    if (line == "/quit" || line == "/exit") return false;
    try {
      if (line == "/clear") {
        history_.clear();
        log_info("the history is empty");
      } else if (line == "/history") {
        show_history();
      } else if (line == "/help") {
        std::fputs(kTyped, stderr);
      } else if (line.starts_with('/') && !session_.lookup().exact(line)) {
        const std::string name(line.substr(0, line.find_first_of(" \t")));
        fail(ErrorCode::invalid_argument, "unknown command {}{}; /help lists them", name,
             did_you_mean(name, {"/history", "/clear", "/help", "/quit", "/exit"}));
      } else {
        const auto added = session_.lookup().resolve_list(line);
        history_.insert(history_.end(), added.begin(), added.end());
        answer(session_, history_);
      }
    } catch (const Error& error) {
      log_line(-1, error.what());
    }
    return true;
  }

  void show_history() {
    if (session_.options().json) {
      Json items = Json::array();
      for (const int32_t item : history_) items.push_back(to_json(session_.catalogue()[item]));
      print_json({{"history", items}});
    } else {
      for (const int32_t item : history_) print(name_of(session_.catalogue()[item]) + "\n");
    }
    flush_output();
  }

  RecommendSession& session_;
  std::vector<int32_t> history_;
};

void run(const RecommendOptions& options, const CLI::App& app, const Settings& settings) {
  check(options.seen == "exclude" || options.seen == "include", ErrorCode::invalid_argument,
        "--seen: expected exclude or include, got '{}'", options.seen);
  check(options.history.empty() || options.input.empty(), ErrorCode::invalid_argument,
        "recommend: --history and --input exclude each other");
  check_companions(app, options.input.empty(), {"--explain"}, "a single history, not an --input");
  check_companions(app, options.input.empty(), {"--user"}, "a single history (an --input names its users)");
  check_companions(app, !options.input.empty(), {"--output"}, "--input");
  const bool to_file = !options.input.empty() && options.output != "-";
  check_companions(app, to_file, {"--overwrite"}, "a file of answers (--output)");
  if (to_file) check_output_file("recommend", options.output, options.overwrite);
  check(!options.beams || *options.beams >= options.count, ErrorCode::invalid_argument,
        "--beams {} cannot find {} items: give at least as many beams as items", options.beams.value_or(0),
        options.count);
  RecommendSession session(options, settings);
  if (!options.input.empty()) return recommend_file(session, settings);
  if (options.history.empty()) return Talk(session).run();
  answer(session, session.lookup().resolve_list(options.history));
}

}  // namespace

RecommendSession::RecommendSession(const RecommendOptions& options, const Settings& settings)
    : options_(options),
      model_(generate::load_item_model(options.model.model, load_options(options.model, settings))),
      lookup_(model_.items),
      recommender_(model_, {.beams = options.beams.value_or(std::max(kBeams, options.count)),
                            .full_vocabulary = options.full_vocabulary,
                            .batch_tokens = options.batch_tokens,
                            .item_weight = options.item_weight}) {
  check(!options.beams || !model_.prompt.parallel, ErrorCode::invalid_argument,
        "--beams says nothing here: the model says all codes of an item at once and scores every item; leave it out");
  check(options.user.empty() || model_.prompt.users.has_value(), ErrorCode::invalid_argument,
        "--user: the model has no tokens of users (it was not trained with data.user_tokens): leave it out");
}

std::vector<std::vector<generate::Recommendation>> RecommendSession::recommend(
    std::span<const std::vector<int32_t>> histories, std::span<const std::string> users) {
  std::vector<generate::RecommendRequest> requests;
  for (size_t i = 0; i < histories.size(); ++i) {
    requests.push_back({.history = histories[i], .exclude = {}, .user = users[i]});
    if (options_.seen == "exclude") requests.back().exclude = histories[i];
  }
  return recommender_.recommend(requests, options_.count);
}

std::string RecommendSession::table(std::span<const int32_t> history, std::span<const generate::Recommendation> found) {
  size_t width = 2;
  for (const generate::Recommendation& r : found) width = std::max(width, catalogue()[r.item].id.size());
  std::string out = found.empty() ? ""
                                  : fmt::format("  #  {:>8}  {:<{}}  title\n",
                                                model_.prompt.items ? "score" : "log prob", "id", width);
  for (size_t i = 0; i < found.size(); ++i) {
    const items::Item& item = catalogue()[found[i].item];
    out += fmt::format("{:>3}  {:>8.4f}  {:<{}}  {}\n", i + 1, found[i].score, item.id, width, item.title);
    if (!options_.explain) continue;
    for (const auto& r : generate::resembling(model_, found[i].item, history, kReasons)) {
      out += fmt::format("       like {}: {} shared code{}, cosine {:.2f}\n", name_of(catalogue()[r.item]),
                         r.shared_levels, r.shared_levels == 1 ? "" : "s", r.cosine);
    }
  }
  if (std::ssize(found) == options_.count) return out;
  const bool exclude = options_.seen == "exclude";
  const std::set<int32_t> seen(history.begin(), history.end());
  const int64_t left = catalogue().size() - (exclude ? std::ssize(seen) : 0);
  const std::string_view which = exclude ? " that the history does not hold" : "";
  if (std::ssize(found) < left) {
    out += fmt::format("  {} of {} items were found; there are {}{}: more --beams find more\n", found.size(),
                       options_.count, left, which);
  } else {
    out += fmt::format("  {} of {} items were found: all{}\n", found.size(), options_.count,
                       exclude ? which : " that there are");
  }
  return out;
}

Json RecommendSession::json(std::span<const int32_t> history, std::span<const generate::Recommendation> found) {
  Json out = {{"history", Json::array()}, {"recommendations", Json::array()}};
  for (int32_t item : history) out["history"].push_back(to_json(catalogue()[item]));
  for (const auto& recommendation : found) {
    Json one = to_json(catalogue()[recommendation.item]);
    one["score"] = recommendation.score;
    one["codes"] = model_.items.codes.spelling(recommendation.item);
    if (options_.explain) {
      one["like"] = Json::array();
      for (const auto& r : generate::resembling(model_, recommendation.item, history, kReasons)) {
        Json reason = to_json(catalogue()[r.item]);
        reason["shared_codes"] = r.shared_levels;
        reason["cosine"] = r.cosine;
        one["like"].push_back(reason);
      }
    }
    out["recommendations"].push_back(one);
  }
  return out;
}

Run setup_recommend(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<RecommendOptions>();
  add_model_options(app, options->model);
  const CLI::Option* history = app.add_option("--history", options->history,
                                              "items, oldest first, separated by commas: ids, titles, code words");
  app.add_option("--user", options->user, "the user's id, for models with tokens of users")->check(filled());
  app.add_option("-k,--count", options->count, "items to recommend (default: 10)")->check(whole(1, 1 << 20));
  app.add_option("--beams,--num-beams", options->beams, "width of the beam search (default: 50, or as --count)")
      ->check(whole(1, 1 << 20));
  app.add_option("--seen", options->seen, "items of the history: exclude, include (default: exclude)");
  app.add_flag("--explain", options->explain, "items of the history that resemble each result");
  app.add_flag("--full-vocabulary", options->full_vocabulary,
               "normalize scores over all tokens, not over a level's codes");
  add_item_weight(app, options->item_weight);
  app.add_option("-i,--input", options->input, "histories, one a line ('-': stdin); see below")->check(filled());
  app.add_option("-o,--output", options->output, "answers to --input, one JSON object a line (default: '-', stdout)")
      ->check(filled());
  app.add_flag("--overwrite", options->overwrite, "replace a file of answers that is there");
  app.add_option("--batch-tokens", options->batch_tokens, "tokens of histories that run together (default: 1024)")
      ->check(whole(1, 1 << 24));
  app.add_flag("--json", options->json, "print JSON");
  app.footer(
      "Without --history and --input, asks for items line by line.\n"
      "A line of --input is a history as for --history, a JSON list of ids, or an object\n"
      "{\"user\": ..., \"history\": [ids]}; \"user\" comes back with the answer.\n\nExample:\n"
      "  caravan recommend -m beauty-model --history \"B004756YJA,B004ZT0SSG\" -k 5 --explain");
  return [options, history, &app, &settings] {
    const bool blank = options->history.find_first_not_of(" \t\r\n,") == std::string::npos;
    check(history->count() == 0 || !blank, ErrorCode::invalid_argument,
          "--history: items are expected, separated by commas; without the option they are asked for");
    run(*options, app, settings);
  };
}

}  // namespace caravan::cli
