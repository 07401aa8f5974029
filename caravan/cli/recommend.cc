// `caravan recommend`: the items that follow a history, once, in a conversation, or from file to file.
#include "caravan/cli/recommend.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "caravan/base/error.h"
#include "caravan/cli/log.h"
#include "caravan/cli/model_recommender.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
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
    "/quit, /exit   leaves, as Ctrl-D does\n";

// A line adds items to the history and is answered.
void converse(RecommendSession& session) {
  const bool shown = isatty(STDIN_FILENO) != 0;
  log_info("{} items. Type items (ids, titles or codes, separated by commas); /help lists what else can be typed",
           session.catalogue().size());
  std::vector<int32_t> history;
  for (std::string line; shown ? (std::cerr << "> ").good() : true;) {
    if (!std::getline(std::cin, line)) break;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line == "/quit" || line == "/exit") break;
    if (line == "/clear") {
      history.clear();
    } else if (line == "/history") {
      for (int32_t item : history) print(name_of(session.catalogue()[item]) + "\n");
      flush_output();
    } else if (line == "/help") {
      std::fputs(kTyped, stderr);
    } else {
      try {
        const auto added = session.lookup().resolve_list(line);
        history.insert(history.end(), added.begin(), added.end());
        answer(session, history);
      } catch (const Error& error) {
        log_line(-1, error.what());
      }
    }
  }
}

void run(const RecommendOptions& options, const CLI::App& app, const Settings& settings) {
  check(options.seen == "exclude" || options.seen == "include", ErrorCode::invalid_argument,
        "--seen: expected exclude or include, got '{}'", options.seen);
  check(options.history.empty() || options.input.empty(), ErrorCode::invalid_argument,
        "recommend: --history and --input exclude each other");
  check_companions(app, options.input.empty(), {"--explain", "--user"},
                   "a single history (an --input names its users)");
  check_companions(app, !options.input.empty(), {"--output"}, "--input");
  check(!options.beams || *options.beams >= options.count, ErrorCode::invalid_argument,
        "--beams {} cannot find {} items: give at least as many beams as items", options.beams.value_or(0),
        options.count);
  RecommendSession session(options, settings);
  if (!options.input.empty()) return recommend_file(session, settings);
  if (options.history.empty()) return converse(session);
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
  std::string out;
  for (size_t i = 0; i < found.size(); ++i) {
    const items::Item& item = catalogue()[found[i].item];
    out += fmt::format("{:>3}  {:>8.4f}  {}  {}\n", i + 1, found[i].score, item.id, item.title);
    if (!options_.explain) continue;
    for (const auto& r : generate::resembling(model_, found[i].item, history, kReasons)) {
      out += fmt::format("       like {}: {} shared codes, cosine {:.2f}\n", name_of(catalogue()[r.item]),
                         r.shared_levels, r.cosine);
    }
  }
  if (std::ssize(found) < options_.count) {
    out += fmt::format("  {} of {} items were found; more --beams find more\n", found.size(), options_.count);
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
