#include "caravan/codes/item_vectors.h"

#include <torch/torch.h>

#include <charconv>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/codes/co_occurrence.h"
#include "caravan/codes/matrix_file.h"
#include "caravan/codes/text_encoder.h"
#include "caravan/codes/tfidf.h"

namespace caravan::codes {
namespace {

struct Block {
  Tensor vectors;
  double explained = -1;
};

// What a block is made of.
struct Source {
  const data::Dataset& dataset;
  const VectorBlock& block;
  const VectorOptions& options;
  Poll poll;
};

std::vector<std::string> texts_of(const data::Dataset& dataset) {
  std::vector<std::string> texts;
  for (const items::Item& item : dataset.items) texts.push_back(items::full_text(item));
  return texts;
}

SvdOptions svd_options(const Source& from) {
  return {.rank = from.options.width, .seed = from.options.seed, .poll = from.poll};
}

Block text_block(const Source& from, TfidfOptions tfidf_options) {
  const std::vector<std::string> texts = texts_of(from.dataset);
  tfidf_options.min_documents = from.options.min_documents;
  tfidf_options.poll = from.poll;
  TfidfMatrix m;
  try {
    m = tfidf(texts, tfidf_options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    fail(ErrorCode::invalid_argument,
         "the items have no text to make vectors of (no word that {} items share); give titles to `items prepare`, or "
         "use --vectors cooccurrence",
         from.options.min_documents);
  }
  const Svd svd = truncated_svd(m.matrix, svd_options(from));
  return {svd.left * svd.singular, svd.explained};
}

Block tfidf_block(const Source& from) { return text_block(from, {}); }

Block character_block(const Source& from) {
  return text_block(from, {.analyzer = Analyzer::characters, .min_ngram = 3, .max_ngram = 5});
}

Block co_occurrence_block(const Source& from, Weighting weighting) {
  std::vector<std::vector<int32_t>> sequences;
  for (int64_t user = 0; user < from.dataset.user_count(); ++user) {
    const auto train = from.dataset.train_history(user);
    sequences.emplace_back(train.begin(), train.end());
  }
  const SparseMatrix m = co_occurrence(sequences, from.dataset.items.size(),
                                       {.window = from.options.window, .weighting = weighting, .poll = from.poll});
  check(m.entries() > 0, ErrorCode::invalid_argument,
        "no two items stand together in the train part of a sequence: there is no co-occurrence to make vectors of");
  const Svd svd = truncated_svd(m, svd_options(from));
  return {svd.left * svd.singular.sqrt(), svd.explained};
}

Block cosine_block(const Source& from) { return co_occurrence_block(from, Weighting::cosine); }

Block ppmi_block(const Source& from) { return co_occurrence_block(from, Weighting::ppmi); }

Block file_block(const Source& from) {
  const std::string& argument = from.block.argument;
  const size_t at = file_exists(argument) ? std::string::npos : argument.rfind('@');
  const std::string path = argument.substr(0, at);
  const Tensor matrix = read_matrix(path);
  const items::Catalogue& items = from.dataset.items;
  if (at != std::string::npos) {
    std::vector<std::string> wanted;
    for (const items::Item& item : items) wanted.push_back(item.id);
    return {arrange_rows(matrix, read_ids(argument.substr(at + 1)), wanted, path)};
  }
  check(matrix.size(0) == items.size(), ErrorCode::invalid_argument,
        "{} has {} rows, but the dataset has {} items; rows stand in the order of items.jsonl, or give the rows' ids: "
        "file:{}@ids.txt",
        path, matrix.size(0), items.size(), path);
  return {matrix};
}

Block encoder_block(const Source& from) {
  TextEncoder encoder(from.block.argument);
  return {encoder.encode(texts_of(from.dataset), [&](uint64_t done, uint64_t total) {
    if (from.options.progress) from.options.progress("bert", done, total);
  })};
}

struct Kind {
  std::string_view name;
  Block (*make)(const Source&);
  bool needs_argument = false;
};

// The kinds of vectors: one line each.
constexpr Kind kKinds[] = {
    {"tfidf", tfidf_block}, {"characters", character_block}, {"cooccurrence", cosine_block},
    {"ppmi", ppmi_block},   {"bert", encoder_block, true},   {"file", file_block, true},
};

const Kind& find_kind(std::string_view name) {
  std::string known;
  for (const Kind& kind : kKinds) {
    if (kind.name == name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind.name) + (kind.needs_argument ? ":..." : "");
  }
  fail(ErrorCode::invalid_argument, "unknown item vectors '{}'; there are {}", name, known);
}

// "a,b" -> a, b; "a," -> a and nothing; "" -> none.
std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; !list.empty() && at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    parts.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

double parse_weight(std::string_view text) {
  double weight = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
  constexpr double kLeast = 1e-6, kMost = 1e6;  // beyond them squares would leave the range of floats
  check(error == std::errc() && end == text.data() + text.size() && weight >= kLeast && weight <= kMost,
        ErrorCode::invalid_argument, "a weight must be a number from {} to {}, got '{}'", kLeast, kMost, text);
  return weight;
}

}  // namespace

std::vector<VectorBlock> parse_blocks(std::string_view kinds, std::string_view weights) {
  std::vector<VectorBlock> blocks;
  for (std::string_view part : split(kinds)) {
    const size_t colon = part.find(':');
    VectorBlock block{std::string(part.substr(0, colon))};
    if (colon != std::string_view::npos) block.argument = part.substr(colon + 1);
    const Kind& kind = find_kind(block.kind);
    check(!kind.needs_argument || !block.argument.empty(), ErrorCode::invalid_argument,
          "item vectors '{}' need a path: {}:PATH", part, kind.name);
    check(kind.needs_argument || block.argument.empty(), ErrorCode::invalid_argument,
          "item vectors '{}' take no argument", part);
    blocks.push_back(std::move(block));
  }
  check(!blocks.empty(), ErrorCode::invalid_argument, "no item vectors are named");
  const auto given = split(weights);
  check(given.empty() || given.size() == blocks.size(), ErrorCode::invalid_argument,
        "{} weights for {} kinds of vectors", given.size(), blocks.size());
  for (size_t i = 0; i < given.size(); ++i) blocks[i].weight = parse_weight(given[i]);
  return blocks;
}

ItemVectors item_vectors(const data::Dataset& dataset, const std::vector<VectorBlock>& blocks,
                         const VectorOptions& options) {
  const torch::NoGradGuard no_grad;
  check(!dataset.items.empty(), ErrorCode::invalid_argument, "the dataset has no items");
  ItemVectors result{.report = Json::array()};
  std::vector<Tensor> parts;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const VectorBlock& block = blocks[i];
    const Poll poll = [&] {
      if (options.progress) options.progress(block.kind, i, blocks.size());
    };
    poll();
    const Block made = find_kind(block.kind).make({dataset, block, options, poll});
    const Tensor wide = made.vectors.to(at::kDouble);  // the square of 1e20 is no float
    const Tensor lengths = wide.norm(2, 1, /*keepdim=*/true);
    parts.push_back((wide / lengths.clamp_min(1e-12) * block.weight).to(at::kFloat));
    Json line = {{"kind", block.kind}, {"weight", block.weight}, {"width", made.vectors.size(1)}};
    if (!block.argument.empty()) line["from"] = block.argument;
    if (made.explained >= 0) line["explained"] = made.explained;
    line["zero_rows"] = (lengths <= 1e-12).sum().item<int64_t>();
    result.report.push_back(std::move(line));
  }
  result.vectors = at::cat(parts, 1).contiguous();
  return result;
}

}  // namespace caravan::codes
