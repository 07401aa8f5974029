// Parts shared by the models, and the two word-based ones; see model.h.
#include "caravan/text/model.h"

#include "caravan/base/error.h"
#include "caravan/text/unicode.h"
#include "caravan/text/word_cache.h"

namespace caravan::text {

Model::Model(Vocabulary vocabulary, Json options, std::string where)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      where_(std::move(where)),
      key_(WordCache::new_key()) {}

Json Model::vocabulary_json() const {
  Json out = Json::object();
  auto& members = out.get_ref<Json::object_t&>();
  for (int32_t id : vocabulary_.ids())
    members.emplace_back(std::string(vocabulary_.text(id)), id);  // no search for duplicates
  return out;
}

Json BpeModel::to_json() const {
  Json out = options_;
  out["vocab"] = vocabulary_json();
  Json merges = Json::array();
  for (const auto& [left, right, made] : merges_.merges())
    merges.push_back(Json::array({std::string(vocabulary_.text(left)), std::string(vocabulary_.text(right))}));
  out["merges"] = std::move(merges);
  return out;
}

WordPieceModel::WordPieceModel(Vocabulary vocabulary, Json options, std::string where)
    : Model(std::move(vocabulary), std::move(options), std::move(where)) {
  unknown_ = get_string(options_, "unk_token", where_, "[UNK]");
  const std::string prefix = get_string(options_, "continuing_subword_prefix", where_, "##");
  max_characters_ = static_cast<size_t>(get_int(options_, "max_input_chars_per_word", where_, {.min = 0}, 100));
  std::vector<Trie::Key> initial, continuing;
  for (int32_t id : vocabulary_.ids()) {
    const std::string_view text = vocabulary_.text(id);
    if (text.empty() || vocabulary_.find(text) != id) continue;
    initial.emplace_back(text, id);
    if (text.size() > prefix.size() && text.starts_with(prefix))
      continuing.emplace_back(text.substr(prefix.size()), id);
  }
  initial_ = Trie(std::move(initial));
  continuing_ = Trie(std::move(continuing));
}

Json WordPieceModel::to_json() const {
  Json out = options_;
  out["vocab"] = vocabulary_json();
  return out;
}

// The longest piece from the left, again and again; a word that cannot be covered is unknown as a whole.
void WordPieceModel::tokenize(std::string_view word, std::vector<Token>& out) const {
  WordCache* cache = word.size() <= WordCache::kWordLimit ? &WordCache::of_this_thread(key_) : nullptr;
  const uint64_t hash = cache ? hash_text(word) : 0;
  if (cache && cache->find(word, hash, 0, out)) return;
  const size_t before = out.size();
  bool covered = word.size() <= max_characters_ || count_characters(word) <= max_characters_;
  for (size_t at = 0; at < word.size() && covered;) {
    const auto [length, id] = (at == 0 ? initial_ : continuing_).longest(word.substr(at));
    covered = id >= 0;
    if (!covered) break;
    out.push_back({id, static_cast<uint32_t>(at), static_cast<uint32_t>(at + length)});
    at += length;
  }
  if (!covered) {
    out.resize(before);
    const int32_t unknown = vocabulary_.find(unknown_);
    check_file(unknown >= 0, FileFault::range, where_, "the unknown token \"{}\" is not in the vocabulary", unknown_);
    out.push_back({unknown, 0, static_cast<uint32_t>(word.size())});
  }
  if (cache) cache->store(word, hash, std::span(out).subspan(before));
}

WordLevelModel::WordLevelModel(Vocabulary vocabulary, Json options, std::string where)
    : Model(std::move(vocabulary), std::move(options), std::move(where)) {
  unknown_ = get_string(options_, "unk_token", where_, "<unk>");
}

Json WordLevelModel::to_json() const {
  Json out = options_;
  out["vocab"] = vocabulary_json();
  return out;
}

void WordLevelModel::tokenize(std::string_view word, std::vector<Token>& out) const {
  int32_t id = vocabulary_.find(word);
  if (id < 0) id = vocabulary_.find(unknown_);
  check_file(id >= 0, FileFault::range, where_, "the unknown token \"{}\" is not in the vocabulary", unknown_);
  out.push_back({id, 0, static_cast<uint32_t>(word.size())});
}

}  // namespace caravan::text
