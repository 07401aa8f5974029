// PCRE2 behind Regex; see regex.h.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "caravan/text/regex.h"

#include <pcre2.h>

#include <chrono>

#include "caravan/base/error.h"
#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

constexpr size_t kPatternLimit = 64 << 10;
constexpr uint32_t kStepLimit = 20'000'000;  // of one match; the longest honest ones take a few steps a byte
constexpr size_t kStackLimit = 16 << 20;     // bytes of JIT stack a thread

// What matching needs, once a thread.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(64, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 << 10, kStackLimit, nullptr);

  Workspace() {
    pcre2_set_match_limit(context, kStepLimit);
    pcre2_set_heap_limit(context, 256 << 10);  // KiB, of the interpreter
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Workspace() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  std::string where;
  ~Compiled() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, std::string where) : compiled_(std::make_unique<Compiled>()) {
  check_file(pattern.size() <= kPatternLimit, FileFault::limit, where,
             "a regular expression of {} bytes; the limit is {}", pattern.size(), kPatternLimit);
  const std::string translated = translate_onig(pattern, where);
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE at = 0;
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK;
  compiled_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options, &error,
                                  &at, context.get());
  if (!compiled_->code) {
    PCRE2_UCHAR message[256] = "";
    pcre2_get_error_message(error, message, sizeof message);
    fail_file(FileFault::syntax, where, "the regular expression \"{}\" does not compile: {} (at byte {} of \"{}\")",
              pattern.substr(0, 200), reinterpret_cast<const char*>(message), at,
              std::string_view(translated).substr(0, 400));
  }
  pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE);  // where it fails, the interpreter runs
  compiled_->where = std::move(where);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::find_all(std::string_view text, std::vector<Span>& matches) const {
  thread_local Workspace workspace;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(workspace.data);
  const auto started = std::chrono::steady_clock::now();
  const auto budget = std::chrono::milliseconds(3000 + text.size() / 50);
  size_t at = 0, last_end = std::string_view::npos, rounds = 0;
  while (at <= text.size()) {
    int rc =
        pcre2_match(compiled_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, workspace.data, workspace.context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)  // deep but maybe harmless: the interpreter has more room
      rc = pcre2_match(compiled_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, workspace.data,
                       workspace.context);
    if (rc == PCRE2_ERROR_NOMATCH) return;
    const bool slow = (++rounds & 15) == 0 && std::chrono::steady_clock::now() - started > budget;
    check_file(rc > 0 && !slow, FileFault::fuel, compiled_->where,
               "a regular expression needs too many steps on a text of {} bytes (PCRE2 code {}): change the pattern",
               text.size(), rc);
    const size_t begin = found[0], end = std::max(found[0], found[1]);
    if (begin == end && begin == last_end) {
      at += at < text.size() ? utf8_length(static_cast<unsigned char>(text[at])) : 1;
      continue;
    }
    matches.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    at = last_end = end;
  }
}

}  // namespace caravan::text
