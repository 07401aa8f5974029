// Text on its way to the model: what normalizers and pre-tokenizers edit and cut, with the way back to the input.
//
//   Pieces pieces(input, /*track=*/true);
//   pieces.rewrite([&](AlignedText& text) { normalizer.apply(text); });
//   pieces.split([&](std::string_view text, const Cut& cut) { cut(0, 3); cut(3, text.size()); });
//
// Behaves as `NormalizedString` and `PreTokenizedString` of Hugging Face tokenizers, on one buffer for all pieces.
// Without `track` no alignment is kept: the ids-only path.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caravan::text {

struct Span {
  uint32_t begin, end;  // bytes; half-open
  bool operator==(const Span&) const = default;
};

// One character of new text. `change`: 0 replaces the next old character, 1 is inserted, -n replaces it and removes n
// more.
struct Change {
  char32_t c;
  int32_t change;
};

// A piece of text and, for each of its bytes, the bytes of the input that it stands for.
class AlignedText {
 public:
  // Input that nothing has touched, from byte `origin` of the input on.
  AlignedText(std::string_view text, uint32_t origin, bool track) : view_(text), origin_(origin), track_(track) {}
  // Text with its spans (empty where not tracked).
  AlignedText(std::string_view text, std::span<const Span> spans, uint32_t origin, bool track)
      : view_(text), spans_(spans.begin(), spans.end()), origin_(origin), track_(track) {}

  std::string_view text() const { return changed_ ? std::string_view(buffer_) : view_; }
  bool empty() const { return text().empty(); }
  bool changed() const { return changed_; }
  uint32_t origin() const { return origin_; }
  const std::vector<Span>& spans();  // one for each byte of text(); empty where not tracked
  // Whether every byte stands for the byte of the input at the same place after origin(): spans() need not be asked.
  bool in_place() const { return spans_.empty(); }

  // The new text, character by character. `removed` old characters before the first are dropped.
  void transform(std::span<const Change> changes, size_t removed = 0);
  // Replaces each match (in order, not overlapping) by `content`.
  void replace(std::span<const Span> matches, std::string_view content);
  void prepend(std::string_view content);  // nothing on empty text
  // Replaces bytes one for one (ASCII for ASCII): alignment stays.
  template <class F>
  void map_bytes(F f) {
    own();
    for (char& c : buffer_) c = f(c);
  }

 private:
  void own();  // makes buffer_ hold the text
  void adopt(std::string text, std::vector<Span> spans);

  std::string_view view_;
  std::string buffer_;
  std::vector<Span> spans_;
  uint32_t origin_;
  bool track_, changed_ = false;
};

struct Piece {
  uint32_t begin, end;  // in Pieces::text()
  int32_t id = -1;      // an added token, never cut or edited again
};

class Pieces;

// Receives the parts of a piece that is being split, as positions within it; empty parts are dropped.
class Cut {
 public:
  Cut(std::vector<Piece>& out, uint32_t base) : out_(out), base_(base) {}
  void operator()(size_t begin, size_t end, int32_t id = -1) const {
    if (begin < end) out_.push_back({base_ + static_cast<uint32_t>(begin), base_ + static_cast<uint32_t>(end), id});
  }

 private:
  std::vector<Piece>& out_;
  uint32_t base_;
};

class Pieces {
 public:
  Pieces(std::string_view input, bool track);

  std::string_view input() const { return input_; }
  std::string_view text() const { return changed_ ? std::string_view(buffer_) : input_; }
  std::string_view text(const Piece& p) const { return text().substr(p.begin, p.end - p.begin); }
  const std::vector<Piece>& list() const { return pieces_; }
  bool track() const { return track_; }

  // Where a piece starts in the input (bytes).
  uint32_t origin(const Piece& p) const { return has_spans() ? spans_[p.begin].begin : p.begin; }
  // The bytes of the input that [begin, end) of a piece stands for.
  Span source(const Piece& p, uint32_t begin, uint32_t end) const {
    if (end > p.end - p.begin) return {begin, end};  // a token longer than its text: the reference reports it as it is
    if (begin == end) return {origin(p) + begin, origin(p) + end};
    if (has_spans()) return {spans_[p.begin + begin].begin, spans_[p.begin + end - 1].end};
    return whole_characters(p.begin + begin, p.begin + end);
  }

  // The ids-only path needs to know where the input starts even when nothing is tracked.
  template <class F>
  void rewrite(F edit) {
    Rewrite state;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      AlignedText text = aligned(pieces_[i]);
      if (pieces_[i].id < 0) edit(text);
      collect(state, i, text);
    }
    finish(std::move(state));
  }

  template <class F>
  void split(F cut) {
    std::vector<Piece> out;
    out.reserve(pieces_.size() + text().size() / 4);
    for (const Piece& p : pieces_) {
      if (p.id >= 0)
        out.push_back(p);
      else
        cut(text(p), Cut(out, p.begin));
    }
    pieces_.swap(out);
  }

 private:
  struct Rewrite {
    bool changed = false, in_place = true;  // in_place: so far every byte stands where it stood in the input
    std::string buffer;
    std::vector<Span> spans;
    std::vector<Piece> pieces;
  };
  bool has_spans() const { return !spans_.empty(); }  // else the text stands in place, or nothing is tracked
  Span whole_characters(uint32_t begin, uint32_t end) const;
  AlignedText aligned(const Piece& p) const;
  void collect(Rewrite& state, size_t i, AlignedText& text);
  void finish(Rewrite&& state);

  std::string_view input_;
  std::string buffer_;
  std::vector<Span> spans_;
  std::vector<Piece> pieces_;
  bool track_, changed_ = false;
};

}  // namespace caravan::text
