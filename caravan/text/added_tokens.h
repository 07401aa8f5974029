// Added and special tokens: found in the text before anything else cuts it, each one id.
//
//   AddedTokens added;
//   added.add({.content = "<s>", .special = true, .normalized = false}, model, normalizer, where);
//   added.build();
//   added.extract(pieces, normalizer, /*parse_special=*/true);
//
// Tokens with normalized = false are searched in the raw text, the others (in their normalized form) afterwards.
// Leftmost, then longest; then lstrip/rstrip take white space along and single_word refuses matches inside words.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "caravan/text/model.h"
#include "caravan/text/normalizer.h"
#include "caravan/text/pieces.h"
#include "caravan/text/trie.h"

namespace caravan::text {

struct AddedToken {
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = true, special = false;
  bool operator==(const AddedToken&) const = default;
};

class AddedTokens {
 public:
  // The id is the model's for a token it knows, else the next free one. Empty tokens are ignored.
  void add(const AddedToken& token, const Model& model, const Normalizer* normalizer);
  void build();  // after the last add

  void extract(Pieces& pieces, const Normalizer* normalizer, bool parse_special) const;

  const std::map<int32_t, AddedToken>& by_id() const { return by_id_; }
  std::optional<int32_t> find(const std::string& content) const;
  // The text of an added token as decoders get it: normalized where that differs; nullptr for other ids.
  const std::string* text(int32_t id) const;
  bool is_special(std::string_view text) const { return special_.count(std::string(text)) > 0; }
  size_t size() const { return ids_.size(); }
  const std::unordered_map<std::string, int32_t>& ids() const { return ids_; }

 private:
  struct Entry {
    int32_t id;
    AddedToken token;
    bool special;
  };
  void find_in(std::string_view text, const Trie& trie, bool parse_special, const Cut& cut) const;

  std::map<int32_t, AddedToken> by_id_;
  std::unordered_map<int32_t, std::string> normalized_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_set<std::string> special_;
  std::optional<int32_t> next_id_;
  Trie raw_, after_;  // values are indices of entries_
  std::vector<Entry> entries_;
  bool any_raw_ = false, any_after_ = false;
};

}  // namespace caravan::text
