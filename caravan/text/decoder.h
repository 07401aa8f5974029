// Decoders of tokenizer.json: Sequence, ByteLevel, ByteFallback, Fuse, Metaspace, WordPiece, BPEDecoder, CTC, Replace,
// Strip.
//
//   DecoderChain chain = make_decoder(json["decoder"], "tokenizer.json");
//   auto run = chain.start();   std::string text;
//   for (...) run.push(token, text);   run.finish(text);
//
// A decoder sees tokens one by one and hands on what has become certain, so decoding and streaming are the same code
// and cost O(1) a token. Without a decoder tokens are joined by spaces.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::text {

// Part of a token on its way through the chain. Fuse and ByteLevel make all tokens one, which comes in many parts.
struct DecoderPart {
  std::string text;
  bool begins = true, ends = true;  // this part is the token's first, last
};

// One decoder at work: what it remembers between tokens.
class DecoderState {
 public:
  using Next = std::function<void(DecoderPart&&)>;
  virtual ~DecoderState() = default;
  virtual void push(DecoderPart&& part, const Next& next) = 0;
  virtual void finish(const Next&) {}
};

using DecoderFactory = std::function<std::unique_ptr<DecoderState>()>;

// A decoding in progress; text is appended as it becomes certain.
class DecoderRun {
 public:
  explicit DecoderRun(const std::vector<DecoderFactory>& factories);
  void push(std::string_view token, std::string& out);
  void finish(std::string& out);

 private:
  void feed(size_t stage, DecoderPart&& part, std::string& out);
  std::vector<std::unique_ptr<DecoderState>> states_;
  size_t consumed_ = 0, produced_ = 0;
};

class DecoderChain {
 public:
  explicit DecoderChain(std::vector<DecoderFactory> factories) : factories_(std::move(factories)) {}
  DecoderRun start() const { return DecoderRun(factories_); }

 private:
  std::vector<DecoderFactory> factories_;
};

// Null makes the chain that joins by spaces. Throws fault unsupported for an unknown type.
DecoderChain make_decoder(const Json& json, std::string_view where);

}  // namespace caravan::text
