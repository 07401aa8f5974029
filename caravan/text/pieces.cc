// Editing and cutting of aligned text; see pieces.h. Rules of alignment: a character that replaces another stands for
// the same input, an inserted one for what the character before it stands for.
#include "caravan/text/pieces.h"

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

void append_identity(std::vector<Span>& spans, std::string_view text, uint32_t origin) {
  size_t out = spans.size();
  spans.resize(out + text.size());
  for (size_t at = 0; at < text.size();) {
    const uint32_t length = static_cast<uint32_t>(utf8_length(static_cast<unsigned char>(text[at])));
    const uint32_t begin = origin + static_cast<uint32_t>(at);
    for (uint32_t i = 0; i < length; ++i) spans[out++] = {begin, begin + length};
    at += length;
  }
}

// Steps of a Sequence can multiply each other's output: a limit keeps hostile files from filling the memory.
void check_growth(size_t before, size_t after) {
  if (after > before && after > (size_t{64} << 20) && after / 4 > before)
    fail_file(FileFault::fuel, "tokenizer",
              "normalization grows {} bytes to {}: the limit is 64 MiB or four times the text", before, after);
}

}  // namespace

const std::vector<Span>& AlignedText::spans() {
  if (track_ && spans_.size() != text().size()) append_identity(spans_, text(), origin_);
  return spans_;
}

void AlignedText::own() {
  if (changed_) return;
  buffer_ = view_;
  changed_ = true;
}

void AlignedText::adopt(std::string text, std::vector<Span> spans) {
  check_growth(view_.size(), text.size());
  buffer_ = std::move(text);
  spans_ = std::move(spans);
  changed_ = true;
}

void AlignedText::transform(std::span<const Change> changes, size_t removed) {
  const std::string_view old = text();
  std::string out;
  out.reserve(old.size() + old.size() / 8);
  if (!track_) {
    for (const Change& c : changes) append_utf8(out, c.c);
    return adopt(std::move(out), {});
  }
  const std::vector<Span>& from = spans();
  std::vector<Span> to;
  to.reserve(old.size());
  size_t at = 0;  // the next old byte
  auto skip = [&](size_t characters) {
    for (; characters > 0 && at < old.size(); --characters) at += utf8_length(static_cast<unsigned char>(old[at]));
  };
  skip(removed);
  for (const Change& c : changes) {
    Span span{origin_, origin_};
    if (c.change > 0) {
      if (at > 0) span = from[at - 1];
    } else if (!from.empty()) {
      span = from[std::min(at, from.size() - 1)];
      skip(1 + static_cast<size_t>(-int64_t{c.change}));
    }
    const size_t start = out.size();
    append_utf8(out, c.c);
    to.insert(to.end(), out.size() - start, span);
  }
  adopt(std::move(out), std::move(to));
}

void AlignedText::replace(std::span<const Span> matches, std::string_view content) {
  if (matches.empty()) return;
  const std::string_view old = text();
  const std::vector<Span>& from = spans();
  std::string out;
  std::vector<Span> to;
  check_growth(old.size(), old.size() + matches.size() * content.size());
  out.reserve(old.size() + matches.size() * content.size());
  size_t last = 0;
  auto keep = [&](size_t end) {
    out.append(old.substr(last, end - last));
    if (track_)
      to.insert(to.end(), from.begin() + static_cast<ptrdiff_t>(last), from.begin() + static_cast<ptrdiff_t>(end));
    last = end;
  };
  for (const Span& match : matches) {
    keep(match.begin);
    out.append(content);
    if (track_) to.insert(to.end(), content.size(), match.end > 0 ? from[match.end - 1] : Span{origin_, origin_});
    last = match.end;
  }
  keep(old.size());
  adopt(std::move(out), std::move(to));
}

void AlignedText::prepend(std::string_view content) {
  if (empty() || content.empty()) return;
  own();
  if (spans(); track_) spans_.insert(spans_.begin(), content.size(), Span(spans_.front()));
  buffer_.insert(0, content);
}

Pieces::Pieces(std::string_view input, bool track) : input_(input), track_(track) {
  check(input.size() < (size_t{1} << 31), ErrorCode::invalid_argument,
        "a text of {} bytes is too long to tokenize: split it", input.size());
  if (!input.empty()) pieces_.push_back({0, static_cast<uint32_t>(input.size())});
}

Span Pieces::whole_characters(uint32_t begin, uint32_t end) const {
  auto inside = [&](uint32_t at) {
    return at < input_.size() && (static_cast<unsigned char>(input_[at]) & 0xC0) == 0x80;
  };
  while (inside(begin)) --begin;
  while (inside(end)) ++end;
  return {begin, end};
}

AlignedText Pieces::aligned(const Piece& p) const {
  if (changed_ && !track_) return AlignedText(text(p), 0, false);
  if (!has_spans()) return AlignedText(text(p), p.begin, track_);
  return AlignedText(text(p), std::span(spans_).subspan(p.begin, p.end - p.begin), origin(p), true);
}

void Pieces::collect(Rewrite& state, size_t i, AlignedText& text) {
  auto append = [&](AlignedText& part, int32_t id) {
    const std::string_view bytes = part.text();
    if (bytes.empty() && id < 0) return;
    const uint32_t begin = static_cast<uint32_t>(state.buffer.size());
    if (track_ && state.in_place && !(part.in_place() && part.origin() == begin)) {
      append_identity(state.spans, state.buffer, 0);
      state.in_place = false;
    }
    state.buffer += bytes;
    if (track_ && !state.in_place) state.spans.insert(state.spans.end(), part.spans().begin(), part.spans().end());
    state.pieces.push_back({begin, static_cast<uint32_t>(state.buffer.size()), id});
  };
  if (!state.changed) {
    if (!text.changed()) return;
    state.changed = true;
    state.buffer.reserve(this->text().size() + this->text().size() / 4);
    for (size_t k = 0; k < i; ++k) {
      AlignedText before = aligned(pieces_[k]);
      append(before, pieces_[k].id);
    }
  }
  append(text, pieces_[i].id);
}

void Pieces::finish(Rewrite&& state) {
  if (!state.changed) return;
  check(state.buffer.size() < (size_t{1} << 31), ErrorCode::invalid_argument,
        "a normalized text of {} bytes is too long to tokenize", state.buffer.size());
  buffer_ = std::move(state.buffer);
  spans_ = std::move(state.spans);
  pieces_ = std::move(state.pieces);
  changed_ = true;
}

}  // namespace caravan::text
