// The decoders of decoder.h as Hugging Face tokenizers 0.23 has them.
#include "caravan/text/decoder.h"

#include <algorithm>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/text/byte_level.h"
#include "caravan/text/normalizer.h"
#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) {  // as Rust: between all characters
    std::string out(to);
    for (size_t at = 0; at < text.size();) {
      const size_t n = utf8_length(static_cast<unsigned char>(text[at]));
      out.append(text, at, n).append(to);
      at += n;
    }
    text = std::move(out);
    return;
  }
  size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  size_t last = 0;
  for (; at != std::string::npos; at = text.find(from, last)) {
    out.append(text, last, at - last).append(to);
    last = at + from.size();
  }
  text = out.append(text, last);
}

// Decoders that need whole tokens collect the parts of a token first.
class WholeToken : public DecoderState {
 public:
  void push(DecoderPart&& part, const Next& next) final {
    if (part.begins && part.ends) return token(std::move(part.text), next);
    buffer_ += part.text;
    if (part.ends) token(std::exchange(buffer_, {}), next);
  }

 protected:
  virtual void token(std::string&& text, const Next& next) = 0;
  size_t index_ = 0;  // of the token, for those that count

 private:
  std::string buffer_;
};

// A decoder that rewrites each token for itself; the function also gets the token's index.
class MapTokens : public WholeToken {
 public:
  using Function = std::function<void(std::string&, size_t)>;
  explicit MapTokens(std::shared_ptr<const Function> f) : f_(std::move(f)) {}

 private:
  void token(std::string&& text, const Next& next) override {
    (*f_)(text, index_++);
    next({std::move(text)});
  }
  std::shared_ptr<const Function> f_;
};

// All tokens become one.
class Fuse : public DecoderState {
 public:
  void push(DecoderPart&& part, const Next& next) override {
    next({std::move(part.text), first_, false});
    first_ = false;
  }
  void finish(const Next& next) override { next({"", first_, true}); }

 private:
  bool first_ = true;
};

// Characters back to bytes; the bytes of all tokens together are text, with U+FFFD for what is not UTF-8.
class ByteLevelDecoder : public WholeToken {
 public:
  void finish(const Next& next) override { next({repair_utf8(bytes_), first_, true}); }

 private:
  void token(std::string&& text, const Next& next) override {
    if (!append_bytes(bytes_, text)) bytes_ += text;
    const size_t ready = bytes_.size() - unfinished_utf8(bytes_);
    if (ready == 0) return;
    const std::string_view certain = std::string_view(bytes_).substr(0, ready);
    next({is_valid_utf8(certain) ? std::string(certain) : repair_utf8(certain), first_, false});
    first_ = false;
    bytes_.erase(0, ready);
  }
  std::string bytes_;
  bool first_ = true;
};

// <0x41> tokens back to bytes. A run that is not UTF-8 as a whole gives one U+FFFD a byte, so it waits for its end.
class ByteFallback : public WholeToken {
 public:
  void finish(const Next& next) override { flush(next); }

 private:
  static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  }
  void token(std::string&& text, const Next& next) override {
    if (text.size() == 6 && text.starts_with("<0x") && text[5] == '>' && digit(text[3]) >= 0 && digit(text[4]) >= 0) {
      run_ += static_cast<char>(digit(text[3]) * 16 + digit(text[4]));
      return;
    }
    flush(next);
    next({std::move(text)});
  }
  void flush(const Next& next) {
    if (run_.empty()) return;
    const std::string run = std::exchange(run_, {});
    if (is_valid_utf8(run)) return next({run});
    for (size_t i = 0; i < run.size(); ++i) next({std::string(kReplacement)});
  }
  std::string run_;
};

// At most `start` and `stop` of one character from the ends of each token. Works on parts: what may be cut is held
// back.
class Strip : public DecoderState {
 public:
  Strip(std::string content, size_t start, size_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}

  void push(DecoderPart&& part, const Next& next) override {
    if (part.begins) {
      left_ = start_;
      held_.clear();
      begun_ = false;
    }
    std::string text = std::exchange(held_, {}) + part.text;
    while (left_ > 0 && text.starts_with(content_)) {
      text.erase(0, content_.size());
      --left_;
    }
    if (!text.empty()) left_ = 0;
    size_t keep = text.size();
    for (size_t i = 0; i < stop_ && std::string_view(text).substr(0, keep).ends_with(content_); ++i)
      keep -= content_.size();
    if (!part.ends) {
      held_ = text.substr(keep);
      text.resize(keep);
      if (text.empty()) return;
    } else {
      text.resize(keep);
    }
    next({std::move(text), !begun_, part.ends});
    begun_ = true;
  }

 private:
  std::string content_, held_;
  size_t start_, stop_, left_ = 0;
  bool begun_ = false;
};

// The suffix of a word's end becomes a space, but for the last token: each token waits for the next.
class BpeDecoder : public WholeToken {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void finish(const Next& next) override { release("", next); }

 private:
  void token(std::string&& text, const Next& next) override {
    release(" ", next);
    waiting_ = std::move(text);
  }
  void release(std::string_view replacement, const Next& next) {
    if (!waiting_) return;
    replace_all(*waiting_, suffix_, replacement);
    next({std::move(*waiting_)});
    waiting_.reset();
  }
  std::string suffix_;
  std::optional<std::string> waiting_;
};

void clean_up(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) replace_all(text, from, to);
}

// Speech models: equal neighbours are one, padding disappears, the delimiter is a space.
class Ctc : public WholeToken {
 public:
  Ctc(std::string pad, std::string delimiter, bool cleanup)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}

 private:
  void token(std::string&& text, const Next& next) override {
    if (last_ == text) return;
    last_ = text;
    replace_all(text, pad_, "");
    if (cleanup_) {
      clean_up(text);
      replace_all(text, delimiter_, " ");
    }
    if (!text.empty()) next({std::move(text)});
  }
  std::string pad_, delimiter_;
  std::optional<std::string> last_;
  bool cleanup_;
};

DecoderFactory map_tokens(MapTokens::Function f) {
  auto shared = std::make_shared<const MapTokens::Function>(std::move(f));
  return [shared] { return std::make_unique<MapTokens>(shared); };
}

DecoderFactory make_metaspace(const Json& json, std::string_view where) {
  const std::string replacement = get_string(json, "replacement", where);
  check_file(!replacement.empty(), FileFault::json, where, "Metaspace's replacement is empty");
  const bool prefix = get_string(json, "prepend_scheme", where,
                                 get_bool(json, "add_prefix_space", where, true) ? "always" : "never") != "never";
  return map_tokens([=](std::string& t, size_t i) { replace_all(t, replacement, i == 0 && prefix ? "" : " "); });
}

DecoderFactory make_word_piece(const Json& json, std::string_view where) {
  const std::string prefix = get_string(json, "prefix", where);
  const bool cleanup = get_bool(json, "cleanup", where);
  return map_tokens([=](std::string& t, size_t i) {
    if (i != 0 && t.starts_with(prefix))
      t.erase(0, prefix.size());
    else if (i != 0)
      t.insert(0, " ");
    if (cleanup) clean_up(t);
  });
}

DecoderFactory make_replace(const Json& json, std::string_view where) {
  auto pattern = std::make_shared<Pattern>(json.value("pattern", Json()), where);
  const std::string content = get_string(json, "content", where);
  return map_tokens([=](std::string& t, size_t) {
    thread_local std::vector<Span> matches;
    matches.clear();
    pattern->find_all(t, matches);
    if (matches.empty()) return;
    std::string out;
    size_t last = 0;
    for (const Span& m : matches) {
      out.append(t, last, m.begin - last).append(content);
      last = m.end;
    }
    t = out.append(t, last);
  });
}

DecoderFactory make_strip(const Json& json, std::string_view where) {
  const std::string content = get_string(json, "content", where);
  check_file(count_characters(content) == 1, FileFault::json, where,
             "Strip's content must be one character, got \"{}\"", content);
  const auto start = static_cast<size_t>(get_int(json, "start", where, {.min = 0})),
             stop = static_cast<size_t>(get_int(json, "stop", where, {.min = 0}));
  return [=] { return std::make_unique<Strip>(content, start, stop); };
}

void collect(const Json& json, std::string_view where, int depth, std::vector<DecoderFactory>& out) {
  const std::string type = component_type(json, "decoder", where, depth);
  if (type == "Sequence") {
    for (const Json& step : component_list(json, "decoders", where)) collect(step, where, depth + 1, out);
  } else if (type == "ByteLevel") {
    out.push_back([] { return std::make_unique<ByteLevelDecoder>(); });
  } else if (type == "ByteFallback") {
    out.push_back([] { return std::make_unique<ByteFallback>(); });
  } else if (type == "Fuse") {
    out.push_back([] { return std::make_unique<Fuse>(); });
  } else if (type == "Metaspace") {
    out.push_back(make_metaspace(json, where));
  } else if (type == "WordPiece") {
    out.push_back(make_word_piece(json, where));
  } else if (type == "Replace") {
    out.push_back(make_replace(json, where));
  } else if (type == "Strip") {
    out.push_back(make_strip(json, where));
  } else if (type == "BPEDecoder") {
    out.push_back([suffix = get_string(json, "suffix", where)] { return std::make_unique<BpeDecoder>(suffix); });
  } else if (type == "CTC") {
    const std::string pad = get_string(json, "pad_token", where),
                      delimiter = get_string(json, "word_delimiter_token", where);
    const bool cleanup = get_bool(json, "cleanup", where);
    out.push_back([=] { return std::make_unique<Ctc>(pad, delimiter, cleanup); });
  } else {
    fail_file(FileFault::unsupported, where, "decoder of unknown type \"{}\"", type);
  }
}

}  // namespace

DecoderRun::DecoderRun(const std::vector<DecoderFactory>& factories) {
  for (const DecoderFactory& make : factories) states_.push_back(make());
}

void DecoderRun::feed(size_t stage, DecoderPart&& part, std::string& out) {
  produced_ += part.text.size();
  check_file(produced_ <= (size_t{16} << 20) + 256 * consumed_, FileFault::fuel, "decoder",
             "decoding makes {} bytes of {}: the decoder grows without bound", produced_, consumed_);
  if (stage == states_.size()) {
    out += part.text;
    return;
  }
  states_[stage]->push(std::move(part), [&](DecoderPart&& next) { feed(stage + 1, std::move(next), out); });
}

void DecoderRun::push(std::string_view token, std::string& out) {
  consumed_ += token.size() + 8;
  feed(0, {std::string(token)}, out);
}

void DecoderRun::finish(std::string& out) {
  for (size_t stage = 0; stage < states_.size(); ++stage)
    states_[stage]->finish([&](DecoderPart&& next) { feed(stage + 1, std::move(next), out); });
}

DecoderChain make_decoder(const Json& json, std::string_view where) {
  std::vector<DecoderFactory> factories;
  if (json.is_null()) {
    factories.push_back(map_tokens([](std::string& t, size_t i) {
      if (i > 0) t.insert(0, " ");
    }));
  } else {
    collect(json, where, 0, factories);
  }
  return DecoderChain(std::move(factories));
}

}  // namespace caravan::text
