// `caravan chat`: a conversation through the model's own chat template: slash commands, Ctrl-C, what is said about
// answers. conversation.h keeps the messages and makes the answers; line_editor.h and message_reader.h read what is
// typed.
#include <fmt/format.h>

#include <memory>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/nearest.h"
#include "caravan/cli/command.h"
#include "caravan/cli/conversation.h"
#include "caravan/cli/decoding_options.h"
#include "caravan/cli/history_file.h"
#include "caravan/cli/input.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/message_reader.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/speed_line.h"
#include "caravan/cli/typed_lines.h"

namespace caravan::cli {
namespace {

struct Options {
  ModelOptions model;
  DecodingOptions decoding;
  std::string system, prompt, prompt_file;
  bool json = false, has_prompt = false, no_history = false;
};

constexpr std::string_view kHelp =
    "  /reset          forget the conversation\n"
    "  /system         show the system message\n"
    "  /system TEXT    set it and start anew ('none': the template's own, if it has one)\n"
    "  /regen          answer the last message once more\n"
    "  /save FILE      write the conversation as JSON (to a new file, or that of the last /save)\n"
    "  /help           this list\n"
    "  /exit           leave (or Ctrl-D)\n"
    "  A message of several lines: paste it, or press Alt-Enter for a line break; or begin and end it\n"
    "  with \"\"\"; or end each line but the last with \\\n"
    "  Ctrl-C stops an answer or clears the line; Up and Ctrl-R bring back what was typed before\n";

// The conversation on a terminal or a pipe. What the program says itself stands in parentheses, on stderr.
class Talk {
 public:
  Talk(Conversation& conversation, Interrupt& interrupt, const Options& options, const Settings& settings)
      : conversation_(conversation),
        interrupt_(interrupt),
        lines_(interrupt),
        history_(options.no_history ? "" : HistoryFile::default_path()),
        quiet_(settings.verbosity < 0) {
    conversation_.set_notes([](std::string_view text) { note("{}", text); });
    if (!lines_.edited()) return;
    for (const std::string& entry : history_.load()) lines_.remember(entry);
  }

  void run() {
    if (lines_.terminal()) note("type a message; /help lists the commands, Ctrl-D leaves");
    MessageReader messages([this](std::string_view prompt, std::string& line) { return lines_.next(prompt, line); });
    int interrupts = 0;
    for (std::string message;;) {
      const LineRead read = messages.next(message);
      interrupts = read == LineRead::interrupted ? interrupts + 1 : 0;
      if (read == LineRead::end || interrupts == 2) return;
      if (interrupts == 1 && !interrupt_.terminated()) note("Ctrl-C once more leaves, and so does Ctrl-D");
      if (read == LineRead::line && !take(message)) return;
      check(!interrupt_.terminated(), ErrorCode::cancelled, "terminated");
    }
  }

 private:
  template <class... Args>
  static void note(fmt::format_string<Args...> format, Args&&... args) {
    const std::string text = "(" + fmt::format(format, std::forward<Args>(args)...) + ")\n";
    std::fwrite(text.data(), 1, text.size(), stderr);
  }

  static Conversation::Stream stream() {
    return [](std::string_view piece) {
      print(piece);
      flush_output();
    };
  }

  // A message or a slash command; false to leave.
  bool take(const std::string& message) {
    if (message.find_first_not_of(" \t\r\n") == std::string::npos) return true;
    if (lines_.edited()) {
      lines_.remember(message);
      history_.append(message);
    }
    if (message.starts_with("/") && message.find('\n') == std::string::npos) return obey(message);
    answer([&] { return conversation_.answer(message, stream()); });
    return true;
  }

  template <class F>
  void answer(const F& make) {
    interrupt_.clear();
    try {
      const Answer answer = make();
      if (!answer.kept) {
        if (!interrupt_.terminated()) note("stopped before the answer began: this turn is forgotten");
      } else {
        print("\n");
        flush_output();
        if (answer.result.sequences[0].text.empty()) note("an empty answer");
        if (interrupt_.raised() && !interrupt_.terminated()) {  // terminated: there is no more conversation
          note("stopped: the answer so far stays in the conversation");
        }
        if (!quiet_) note("{}", speed_line(std::span(&answer.result, 1)));
      }
    } catch (const Error& error) {  // a template that refuses the message, a context that is full: the talk goes on
      note("{}", error.what());
    }
    interrupt_.clear();
  }

  // A slash command; false for /exit.
  bool obey(const std::string& line) {
    const size_t space = std::min(line.find_first_of(" \t"), line.size());
    const std::string name = line.substr(0, space);
    const size_t begin = line.find_first_not_of(" \t", space);
    const std::string argument = begin == std::string::npos ? "" : line.substr(begin);
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help") {
      std::fwrite(kHelp.data(), 1, kHelp.size(), stderr);
    } else if (name == "/reset") {
      conversation_.reset();
      note("forgotten{}", conversation_.system().empty() ? "" : "; the system message stays");
    } else if (name == "/system") {
      system(argument);
    } else if (name == "/regen") {
      answer([&] { return conversation_.answer_again(stream()); });
    } else if (name == "/save") {
      save(argument);
    } else {
      note("unknown command {}{}; /help lists them", name,
           did_you_mean(name, {"/reset", "/system", "/regen", "/save", "/help", "/exit"}));
    }
    return true;
  }

  void system(const std::string& text) {
    if (text.empty()) {
      conversation_.system().empty() ? note("there is no system message; /system TEXT sets one")
                                     : note("the system message: {}", conversation_.system());
      return;
    }
    conversation_.set_system(text == "none" ? "" : text);
    note("{}; the conversation starts anew",
         text == "none" ? "no system message but what the chat template itself may add" : "the system message is set");
  }

  void save(const std::string& path) {
    try {
      check(!path.empty(), ErrorCode::invalid_argument, "/save needs a file name");
      check(!file_exists(path) || path == saved_, ErrorCode::invalid_argument, "{} exists already: give another name",
            path);
      write_file(path, dump_json({{"messages", conversation_.messages()}}) + "\n");
      saved_ = path;  // this chat's own file may be brought up to date
      note("saved to {}", path);
    } catch (const Error& error) {
      note("{}", error.what());
    }
  }

  Conversation& conversation_;
  Interrupt& interrupt_;
  TypedLines lines_;
  HistoryFile history_;
  bool quiet_;
  std::string saved_;  // the file that /save wrote last
};

// --prompt: one answer, then the end.
void answer_once(Conversation& conversation, const Options& options, const Interrupt& interrupt,
                 const Settings& settings) {
  const Conversation::Stream stream = [](std::string_view piece) { print(piece), flush_output(); };
  conversation.set_notes([](std::string_view text) { log_info("{}", text); });
  const Answer answer = conversation.answer(options.prompt, options.json ? nullptr : stream);
  const generate::GeneratedSequence& sequence = answer.result.sequences[0];
  if (options.json) {
    Json out = {{"text", sequence.text}, {"ids", sequence.ids}, {"finish_reason", to_string(sequence.reason)}};
    if (conversation.config().do_sample) out["seed"] = conversation.config().seed;
    print_json(out);
  } else {
    print("\n");
  }
  flush_output();
  if (settings.verbosity >= 0) log_speed(std::span(&answer.result, 1));
  check(!interrupt.raised(), ErrorCode::cancelled, "interrupted");
}

void run(const Options& options, const Settings& settings) {
  models::LoadOptions load = load_options(options.model, settings);
  load.keep_blocks = true;
  const auto checkpoint = formats::Checkpoint::open(options.model.model);
  const std::string& proposer = options.decoding.draft();
  const auto draft = proposer.empty() ? nullptr : models::load_causal_lm(proposer, load);
  Conversation conversation(*checkpoint, load, options.decoding,
                            {.cache_dtype = cache_dtype(options.model), .draft = draft.get()});
  if (!options.system.empty()) conversation.set_system(options.system);
  if (conversation.config().do_sample) log_detail("seed {}", conversation.config().seed);
  Interrupt interrupt(options.has_prompt ? Interrupt::Second::ends : Interrupt::Second::counts);
  conversation.set_cancel_flag(interrupt.flag());
  if (options.has_prompt) return answer_once(conversation, options, interrupt, settings);
  Talk(conversation, interrupt, options, settings).run();
}

}  // namespace

Run setup_chat(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  add_cache_options(app, options->model);
  app.add_option("--system", options->system, "system message");
  CLI::Option* prompt =
      app.add_option("-p,--prompt", options->prompt, "answer this message and exit ('-': all of standard input)");
  CLI::Option* file =
      app.add_option("--prompt-file", options->prompt_file, "--prompt from a file ('-': standard input)")
          ->excludes(prompt);
  app.add_flag("--json", options->json, "with --prompt: print {\"text\", \"ids\", \"finish_reason\", \"seed\"}");
  app.add_flag("--no-history", options->no_history,
               "neither read nor write the file of what was typed in earlier chats");
  options->decoding.add_to(app, {{"max-new-tokens", "1024"}, {"temperature", "0.5"}, {"top-p", "0.9"}});
  options->decoding.add_draft_to(app);
  app.footer(
      "\nIn the conversation:\n" + std::string(kHelp) +
      "\nDefaults come from the checkpoint's generation_config.json; without one: temperature 0.5, top-p 0.9.\n\n"
      "Examples:\n"
      "  caravan chat -m SmolLM2-135M-Instruct.gguf\n"
      "  caravan chat -m model-folder --prompt 'Why is the sky blue?' --greedy --max-new-tokens 100");
  return [options, prompt, file, &settings] {
    options->has_prompt = prompt->count() > 0 || file->count() > 0;
    check(options->has_prompt || !options->json, ErrorCode::invalid_argument, "chat: --json needs --prompt");
    if (options->prompt == "-") options->prompt = read_prompt("--prompt", "-");
    if (file->count() > 0) options->prompt = read_prompt("--prompt-file", options->prompt_file);
    run(*options, settings);
  };
}

}  // namespace caravan::cli
