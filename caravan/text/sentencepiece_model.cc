// Reads SentencePiece .model files: a small protobuf reader with limits, so that a hostile file reaches no other
// parser. Format: sentencepiece_model.proto (ModelProto). The charsmap inside is checked where it is used
// (precompiled_charsmap.h). Left out: the self-test and denormalizer sections (skipped), and training options that
// encoding does not need.
#include <cstring>

#include "caravan/base/error.h"
#include "caravan/text/precompiled_charsmap.h"
#include "caravan/text/spm_vocabulary.h"

namespace caravan::text {
namespace {

constexpr int kMaxGroups = 4;
constexpr size_t kMaxFileBytes = size_t{1} << 30;

// One message: fields in any order, unknown ones skipped.
class Fields {
 public:
  Fields(std::string_view bytes, std::string_view where) : rest_(bytes), where_(where) {}

  // The next field; its value is number() or bytes(), by its wire type.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    field_ = static_cast<uint32_t>(tag >> 3);
    wire_ = static_cast<int>(tag & 7);
    check_file(field_ != 0 && tag >> 32 == 0, FileFault::layout, where_, "a field numbered {}", tag >> 3);
    bytes_ = {};
    number_ = 0;
    if (wire_ == 0)
      number_ = varint();
    else if (wire_ == 1)
      bytes_ = take(8);
    else if (wire_ == 2)
      bytes_ = take(varint());
    else if (wire_ == 3)
      skip_group(field_, 1);
    else if (wire_ == 5)
      bytes_ = take(4);
    else
      fail_file(FileFault::type, where_, "wire type {} of field {} does not exist here", wire_, field_);
    return true;
  }

  uint32_t field() const { return field_; }
  uint64_t number() const {
    expect(0);
    return number_;
  }
  std::string_view bytes() const {
    expect(2);
    return bytes_;
  }
  float real() const {
    expect(5);
    float f;
    std::memcpy(&f, bytes_.data(), sizeof f);
    return f;
  }

 private:
  void expect(int wire) const {
    check_file(wire_ == wire, FileFault::type, where_, "field {} has wire type {}, expected {}", field_, wire_, wire);
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      check_file(!rest_.empty(), FileFault::truncated, where_, "the file ends within a number");
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail_file(FileFault::truncated, where_, "a number of more than 10 bytes");
  }
  std::string_view take(uint64_t n) {
    check_file(n <= rest_.size(), FileFault::truncated, where_, "a field of {} bytes, {} bytes left", n, rest_.size());
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  void skip_group(uint32_t group, int depth) {
    check_file(depth <= kMaxGroups, FileFault::limit, where_, "groups nested deeper than {}", kMaxGroups);
    for (;;) {
      const uint64_t tag = varint();
      switch (tag & 7) {
        case 0:
          varint();
          break;
        case 1:
          take(8);
          break;
        case 2:
          take(varint());
          break;
        case 3:
          skip_group(static_cast<uint32_t>(tag >> 3), depth + 1);
          break;
        case 4:
          check_file(tag >> 3 == group, FileFault::layout, where_, "a group ends that did not begin");
          return;
        case 5:
          take(4);
          break;
        default:
          fail_file(FileFault::type, where_, "wire type {} does not exist", tag & 7);
      }
    }
  }

  std::string_view rest_, where_, bytes_;
  uint64_t number_ = 0;
  uint32_t field_ = 0;
  int wire_ = 0;
};

void read_piece(std::string_view bytes, SpmVocabulary& v, std::string_view where) {
  std::string piece;
  float score = 0;
  uint64_t type = 1;
  for (Fields f(bytes, where); f.next();) {
    if (f.field() == 1)
      piece = f.bytes();
    else if (f.field() == 2)
      score = f.real();
    else if (f.field() == 3)
      type = f.number();
  }
  check_file(type >= 1 && type <= 6, FileFault::range, where, "piece {} has type {}", v.pieces.size(), type);
  v.pieces.push_back(std::move(piece));
  v.scores.push_back(score);
  v.types.push_back(static_cast<SpmPiece>(type));
}

struct TrainerSpec {
  int32_t bos = 1, eos = 2;
};

void read_trainer(std::string_view bytes, SpmVocabulary& v, TrainerSpec& spec, std::string_view where) {
  for (Fields f(bytes, where); f.next();) {
    switch (f.field()) {
      case 3: {
        const uint64_t kind = f.number();
        check_file(kind >= 1 && kind <= 4, FileFault::unsupported, where, "model_type {}", kind);
        v.kind = static_cast<SpmKind>(kind - 1);
        break;
      }
      case 24:
        v.whitespace_as_suffix = f.number() != 0;
        break;
      case 35:
        v.byte_fallback = f.number() != 0;
        break;
      case 41:
        spec.bos = static_cast<int32_t>(f.number());
        break;
      case 42:
        spec.eos = static_cast<int32_t>(f.number());
        break;
      default:
        break;
    }
  }
}

void read_normalizer(std::string_view bytes, SpmVocabulary& v, std::string_view where) {
  for (Fields f(bytes, where); f.next();) {
    switch (f.field()) {
      case 2:
        v.precompiled_charsmap = f.bytes();
        break;
      case 3:
        v.add_dummy_prefix = f.number() != 0;
        break;
      case 4:
        v.remove_extra_whitespaces = f.number() != 0;
        break;
      case 5:
        v.escape_whitespaces = f.number() != 0;
        break;
      default:
        break;
    }
  }
}

}  // namespace

// What the file does not say follows the models it comes from: a BPE model puts its bos in front (LLaMA), a Unigram
// model without a bos puts its eos behind (T5); others add nothing.
Tokenizer Tokenizer::from_sentencepiece(std::string_view model_bytes, std::string_view where) {
  check_file(model_bytes.size() <= kMaxFileBytes, FileFault::limit, where, "{} bytes are too many for a tokenizer",
             model_bytes.size());
  SpmVocabulary v;
  TrainerSpec spec;
  for (Fields f(model_bytes, where); f.next();) {
    if (f.field() == 1)
      read_piece(f.bytes(), v, where);
    else if (f.field() == 2)
      read_trainer(f.bytes(), v, spec, where);
    else if (f.field() == 3)
      read_normalizer(f.bytes(), v, where);
  }
  if (!v.precompiled_charsmap.empty()) PrecompiledCharsmap(v.precompiled_charsmap, where);
  const bool has_bos = spec.bos >= 0 && static_cast<size_t>(spec.bos) < v.pieces.size();
  if (v.kind == SpmKind::bpe && has_bos) v.bos = spec.bos;
  if (v.kind == SpmKind::unigram && !has_bos && spec.eos >= 0) v.eos = spec.eos;
  return from_parts(make_spm_parts(std::move(v), where), where);
}

}  // namespace caravan::text
