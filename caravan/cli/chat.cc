// `caravan chat`: a conversation through the model's own chat template. The terminal side is here: reading messages,
// slash commands, Ctrl-C; conversation.h keeps the history and makes the answers.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/nearest.h"
#include "caravan/cli/command.h"
#include "caravan/cli/conversation.h"
#include "caravan/cli/decoding_options.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/speed_line.h"

namespace caravan::cli {
namespace {

struct Options {
  ModelOptions model;
  DecodingOptions decoding;
  std::string system, prompt;
  bool json = false, has_prompt = false;
};

constexpr std::string_view kHelp =
    "  /reset          forget the conversation\n"
    "  /system TEXT    set the system message and start again\n"
    "  /regen          answer the last message once more\n"
    "  /save FILE      write the conversation as JSON\n"
    "  /help           this list\n"
    "  /exit           leave (or Ctrl-D)\n"
    "  A message of several lines: begin and end it with \"\"\", or end each line but the last with \\\n"
    "  Ctrl-C stops an answer\n";

constexpr size_t kLongestLine = 1 << 26;

// Lines from the terminal or a pipe. Ctrl-C at the prompt gives "interrupted".
class Lines {
 public:
  enum class Result { line, end, interrupted };

  Result next(std::string& line) {
    for (size_t searched = 0;;) {
      if (const size_t end = buffer_.find('\n', searched); end != std::string::npos) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return Result::line;
      }
      searched = buffer_.size();
      check(searched <= kLongestLine, ErrorCode::invalid_argument, "chat: a line has more than {} bytes", kLongestLine);
      char chunk[4096];
      const ssize_t n = ::read(STDIN_FILENO, chunk, sizeof chunk);
      if (n < 0 && errno == EINTR) return Result::interrupted;
      if (n <= 0) {
        line = std::exchange(buffer_, "");
        return line.empty() ? Result::end : Result::line;
      }
      buffer_.append(chunk, static_cast<size_t>(n));
    }
  }

 private:
  std::string buffer_;
};

class Terminal {
 public:
  Terminal(Conversation& conversation, Interrupt& interrupt, const Settings& settings)
      : conversation_(conversation),
        interrupt_(interrupt),
        quiet_(settings.verbosity < 0),
        shown_(isatty(STDIN_FILENO) != 0) {}

  void run() {
    if (shown_) say("Type a message; /help lists the commands, Ctrl-D leaves.\n");
    std::string message;
    while (!interrupt_.terminated() && read_message(message)) {
      if (message.starts_with("/")) {
        if (!obey(message)) return;
      } else if (message.find_first_not_of(" \t\r\n") != std::string::npos) {
        answer([&] { return conversation_.answer(message, stream()); });
      }
    }
  }

 private:
  static void say(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

  static Conversation::Stream stream() {
    return [](std::string_view piece) {
      print(piece);
      flush_output();
    };
  }

  // One message of one or more lines; false at the end of input or a second Ctrl-C.
  bool read_message(std::string& message) {
    message.clear();
    bool quoted = false, continued = false;
    for (int interrupts = 0;;) {
      if (shown_) say(quoted || continued ? ". " : "> ");
      std::string line;
      const Lines::Result result = lines_.next(line);
      if (result == Lines::Result::end) return !message.empty();
      if (result == Lines::Result::interrupted) {
        if (interrupt_.terminated()) return false;
        interrupt_.clear();
        if (++interrupts == 2) return say("\n"), false;
        say("\n(Ctrl-C once more or Ctrl-D leaves)\n");
        message.clear(), quoted = continued = false;
        continue;
      }
      if (!quoted && !continued && line.starts_with("\"\"\"")) quoted = true, line.erase(0, 3);
      if (quoted) {
        const bool closes = line.ends_with("\"\"\"");
        message += closes ? line.substr(0, line.size() - 3) : line + "\n";
        if (closes) return true;
        continue;
      }
      continued = line.ends_with("\\");
      message += continued ? line.substr(0, line.size() - 1) + "\n" : line;
      if (!continued) return true;
    }
  }

  template <class F>
  void answer(const F& make) {
    interrupt_.clear();
    try {
      const generate::GenerateResult result = make();
      print("\n");
      flush_output();
      if (interrupt_.raised()) say("(stopped)\n");
      if (!quiet_) log_speed(std::span(&result, 1));
    } catch (const Error& error) {  // a template that refuses the message, a context that is full: the talk goes on
      say(fmt::format("caravan: {}\n", error.what()));
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
      say(kHelp);
    } else if (name == "/reset") {
      conversation_.reset();
      say("(forgotten)\n");
    } else if (name == "/system") {
      conversation_.set_system(argument);
      say(argument.empty() ? "(no system message)\n" : "(system message set)\n");
    } else if (name == "/regen") {
      answer([&] { return conversation_.answer_again(stream()); });
    } else if (name == "/save") {
      save(argument);
    } else {
      say(fmt::format("unknown command {}{}; /help lists them\n", name,
                      did_you_mean(name, {"/reset", "/system", "/regen", "/save", "/help", "/exit"})));
    }
    return true;
  }

  void save(const std::string& path) {
    try {
      check(!path.empty(), ErrorCode::invalid_argument, "/save needs a file name");
      write_file(path, dump_json({{"messages", conversation_.messages()}}) + "\n");
      say(fmt::format("(saved to {})\n", path));
    } catch (const Error& error) {
      say(fmt::format("caravan: {}\n", error.what()));
    }
  }

  Conversation& conversation_;
  Interrupt& interrupt_;
  Lines lines_;
  bool quiet_, shown_;
};

// --prompt: one answer, then the end.
void answer_once(Conversation& conversation, const Options& options, const Interrupt& interrupt,
                 const Settings& settings) {
  const Conversation::Stream stream = [](std::string_view piece) { print(piece), flush_output(); };
  const generate::GenerateResult result = conversation.answer(options.prompt, options.json ? nullptr : stream);
  const generate::GeneratedSequence& sequence = result.sequences.at(0);
  if (options.json) {
    print_json({{"text", sequence.text}, {"ids", sequence.ids}, {"finish_reason", to_string(sequence.reason)}});
  } else {
    print("\n");
  }
  flush_output();
  if (settings.verbosity >= 0) log_speed(std::span(&result, 1));
  check(!interrupt.raised(), ErrorCode::cancelled, "interrupted");
}

void run(const Options& options, const Settings& settings) {
  const models::LoadOptions load = load_options(options.model, settings);
  const auto checkpoint = formats::Checkpoint::open(options.model.model);
  Conversation conversation(*checkpoint, load, options.decoding);
  if (!options.system.empty()) conversation.set_system(options.system);
  Interrupt interrupt;
  conversation.set_cancel_flag(interrupt.flag());
  if (options.has_prompt) return answer_once(conversation, options, interrupt, settings);
  Terminal(conversation, interrupt, settings).run();
  check(!interrupt.terminated(), ErrorCode::cancelled, "terminated");
}

}  // namespace

Run setup_chat(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  app.add_option("--system", options->system, "system message");
  CLI::Option* prompt = app.add_option("-p,--prompt", options->prompt, "answer this message and exit");
  app.add_flag("--json", options->json, "with --prompt: print {\"text\", \"ids\", \"finish_reason\"}");
  options->decoding.add_to(app);
  app.footer(
      "\nIn the conversation:\n" + std::string(kHelp) +
      "\nDefaults come from the checkpoint's generation_config.json; without one: temperature 0.5, top-p 0.9.\n\n"
      "Examples:\n"
      "  caravan chat -m SmolLM2-135M-Instruct.gguf\n"
      "  caravan chat -m model-folder --prompt 'Why is the sky blue?' --greedy --max-new-tokens 100");
  return [options, prompt, &settings] {
    options->has_prompt = prompt->count() > 0;
    check(options->has_prompt || !options->json, ErrorCode::invalid_argument, "chat: --json needs --prompt");
    run(*options, settings);
  };
}

}  // namespace caravan::cli
