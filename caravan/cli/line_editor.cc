// libedit's own reading function is replaced: it would drop invalid UTF-8 and miss a signal that comes just before it.
#include "caravan/cli/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "caravan/base/error.h"
#include "caravan/text/unicode.h"

namespace caravan::cli {
namespace {

constexpr int kRemembered = 1000;  // entries
constexpr std::string_view kPasteOn = "\x1b[?2004h", kPasteOff = "\x1b[?2004l";
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";

volatile sig_atomic_t resized = 0, resumed = 0;
void on_resize(int) { resized = 1; }
void on_resume(int) { resumed = 1; }

std::wstring widen(std::string_view text) {
  const std::string valid = text::repair_utf8(text);
  std::wstring wide;
  for (size_t at = 0; at < valid.size();) wide += static_cast<wchar_t>(text::decode_utf8(valid, at));
  return wide;
}

std::string narrow(std::wstring_view wide) {
  std::string text;
  for (const wchar_t c : wide) text::append_utf8(text, static_cast<char32_t>(c));
  return text;
}

// A paste as text: line breaks are \n, other control characters but tabs are left out, and so is the last line break.
std::wstring cleaned(std::wstring_view pasted) {
  std::wstring text;
  for (size_t i = 0; i < pasted.size(); ++i) {
    wchar_t c = pasted[i];
    if (c == L'\r') {
      if (i + 1 < pasted.size() && pasted[i + 1] == L'\n') continue;
      c = L'\n';
    }
    if (c == L'\n' || c == L'\t' || (c >= 0x20 && c != 0x7f)) text += c;
  }
  while (text.ends_with(L'\n')) text.pop_back();
  return text;
}

// Widths of characters are the locale's: a C locale would show every other character as an escape.
void use_utf8_locale() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineEditor::State {
  explicit State(Interrupt& i) : interrupt(i) {}
  State(const State&) = delete;
  ~State() {
    if (listening) {
      sigaction(SIGWINCH, &previous_resize, nullptr);
      sigaction(SIGCONT, &previous_resume, nullptr);
      write(kPasteOff);
    }
    if (editor != nullptr) el_end(editor);
    if (history != nullptr) history_wend(history);
    if (screen != nullptr) std::fclose(screen);
  }

  Interrupt& interrupt;
  FILE* screen = nullptr;
  EditLine* editor = nullptr;
  HistoryW* history = nullptr;
  std::wstring prompt;
  std::string bytes;                        // read and not yet given to libedit
  bool interrupted = false, typed = false;  // since read() began
  bool listening = false;
  struct sigaction previous_resize {
  }, previous_resume{};

  static State& of(EditLine* editor) {
    void* self = nullptr;
    el_wget(editor, EL_CLIENTDATA, &self);
    return *static_cast<State*>(self);
  }

  void write(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), screen);
    std::fflush(screen);
  }

  // A character of `bytes`; false where there is no whole one. What is no UTF-8 becomes U+FFFD.
  bool take_character(wchar_t* to) {
    if (bytes.empty()) return false;
    const size_t wanted = std::min(text::utf8_length(static_cast<unsigned char>(bytes[0])), bytes.size());
    if (text::unfinished_utf8(bytes) == bytes.size()) return false;
    const std::string valid = text::repair_utf8(std::string_view(bytes).substr(0, wanted));
    size_t used = 0;
    const char32_t c = text::decode_utf8(valid, used);
    *to = static_cast<wchar_t>(c);
    bytes.erase(0, bytes.compare(0, used, valid, 0, used) == 0 ? used : 1);
    return true;
  }

  // After a stop and a new window size.
  void follow_terminal() {
    if (resumed != 0) {
      resumed = 0;
      el_wset(editor, EL_PREP_TERM, 1);
      write(kPasteOn);
      el_wset(editor, EL_REFRESH);
    }
    if (resized != 0) {
      resized = 0;
      write("\r\x1b[J");  // libedit takes the screen for empty
      el_resize(editor);
      el_wset(editor, EL_REFRESH);
    }
  }

  int next_character(wchar_t* to) {
    for (;;) {
      if (interrupt.raised()) {  // libedit ends the line as if Enter was pressed
        interrupted = true;
        *to = L'\n';
        return 1;
      }
      if (take_character(to)) {
        typed = true;
        return 1;
      }
      pollfd waiting[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt.wake_fd(), POLLIN, 0}};
      const int ready = ::poll(waiting, 2, -1);
      follow_terminal();
      if (ready < 0 && errno != EINTR) return -1;
      if (ready <= 0 || waiting[0].revents == 0) continue;
      char chunk[1 << 14];
      const ssize_t n = ::read(STDIN_FILENO, chunk, sizeof chunk);
      if (n == 0) return 0;
      if (n < 0 && errno != EINTR && errno != EAGAIN) return -1;
      if (n > 0) bytes.append(chunk, static_cast<size_t>(n));
    }
  }

  static int get_character(EditLine* editor, wchar_t* to) { return of(editor).next_character(to); }
  static wchar_t* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }

  // The terminal brackets what is pasted; all of it goes into the line at once.
  static unsigned char paste(EditLine* editor, wint_t) {
    State& self = of(editor);
    std::wstring pasted;
    for (wchar_t c; !pasted.ends_with(kPasteEnd) && self.next_character(&c) == 1;) {
      if (self.interrupted) return CC_NEWLINE;
      pasted += c;
    }
    if (pasted.ends_with(kPasteEnd)) pasted.resize(pasted.size() - kPasteEnd.size());
    pasted = cleaned(pasted);
    if (pasted.empty()) return CC_NORM;
    return el_winsertstr(editor, pasted.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  static unsigned char break_line(EditLine* editor, wint_t) {
    if (of(editor).interrupted) return CC_NEWLINE;  // the Enter of Ctrl-C, after Escape
    return el_winsertstr(editor, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
  }

  void bind_keys() {
    el_wset(editor, EL_EDITOR, L"emacs");
    el_wset(editor, EL_ADDFN, L"caravan-paste", L"Insert a paste", paste);
    el_wset(editor, EL_ADDFN, L"caravan-break-line", L"Insert a line break", break_line);
    const wchar_t* const keys[][2] = {
        {L"\\e[200~", L"caravan-paste"}, {L"\\e\\n", L"caravan-break-line"}, {L"\\e\\r", L"caravan-break-line"},
        {L"^R", L"em-inc-search-prev"},  {L"^W", L"ed-delete-prev-word"},    {L"\\e[3~", L"ed-delete-next-char"},
        {L"\\e[1~", L"ed-move-to-beg"},  {L"\\e[4~", L"ed-move-to-end"},     {L"\\e[H", L"ed-move-to-beg"},
        {L"\\e[F", L"ed-move-to-end"},   {L"\\eOH", L"ed-move-to-beg"},      {L"\\eOF", L"ed-move-to-end"},
        {L"\\e[1;5C", L"em-next-word"},  {L"\\e[1;5D", L"ed-prev-word"},     {L"\\e[1;3C", L"em-next-word"},
        {L"\\e[1;3D", L"ed-prev-word"}};
    for (const auto& [key, command] : keys) el_wset(editor, EL_BIND, key, command, nullptr);
  }

  // Outside read() ("execute mode") keys are neither shown nor cut into lines by the terminal.
  void silence_terminal() {
    for (const wchar_t* mode : {L"-echo", L"-icanon"}) el_wset(editor, EL_SETTY, L"-x", mode, nullptr);
  }

  void listen() {
    struct sigaction action {};
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_resize;
    sigaction(SIGWINCH, &action, &previous_resize);
    action.sa_handler = on_resume;
    sigaction(SIGCONT, &action, &previous_resume);
    listening = true;
    write(kPasteOn);
  }
};

bool LineEditor::usable() {
  const char* name = std::getenv("TERM");
  const std::string_view term = name == nullptr ? "" : name;
  return isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0 && term != "" && term != "dumb" && term != "emacs";
}

LineEditor::LineEditor(Interrupt& interrupt) : state_(std::make_unique<State>(interrupt)) {
  use_utf8_locale();
  State& s = *state_;
  s.screen = fdopen(dup(STDERR_FILENO), "w");  // buffered, unlike stderr
  check(s.screen != nullptr, ErrorCode::internal, "the terminal cannot be opened again");
  s.editor = el_init_fd("caravan", stdin, s.screen, s.screen, STDIN_FILENO, STDERR_FILENO, STDERR_FILENO);
  s.history = history_winit();
  if (s.editor == nullptr || s.history == nullptr) throw std::bad_alloc();
  HistEventW event;
  history_w(s.history, &event, H_SETSIZE, kRemembered);
  history_w(s.history, &event, H_SETUNIQUE, 1);
  el_wset(s.editor, EL_CLIENTDATA, static_cast<void*>(&s));
  el_wset(s.editor, EL_PROMPT, &State::show_prompt);
  el_wset(s.editor, EL_HIST, history_w, s.history);
  el_wset(s.editor, EL_GETCFN, &State::get_character);
  s.bind_keys();
  el_source(s.editor, nullptr);
  s.silence_terminal();
  s.listen();
}

LineEditor::~LineEditor() = default;

LineRead LineEditor::read(std::string_view prompt, std::string& line) {
  State& s = *state_;
  s.prompt = widen(prompt);
  s.interrupted = s.typed = false;
  line.clear();
  int length = 0;
  const wchar_t* text = el_wgets(s.editor, &length);
  if (s.interrupted) {
    s.interrupt.clear();
    return s.typed ? LineRead::cleared : LineRead::interrupted;
  }
  if (text == nullptr || length <= 0) {
    s.write("\n");
    return LineRead::end;
  }
  line = narrow(std::wstring_view(text, static_cast<size_t>(length)));
  if (line.ends_with('\n')) line.pop_back();
  return LineRead::line;
}

void LineEditor::remember(const std::string& entry) {
  HistEventW event;
  history_w(state_->history, &event, H_ENTER, widen(entry).c_str());
}

}  // namespace caravan::cli
