// Bodies of tree_attention.h, compiled once per instruction set, without reassociation. Keys come in blocks of
// kTreeTokens, counted from the prompt's first, and softmax goes along: a query keeps its largest score so far, and
// what it has summed is scaled down when a larger one comes. Sums over keys run in the keys' order and sums over
// features in the features' order, whatever rows share a block: equal rows get equal bits.
#include "caravan/kernels/tree_attention.h"

#include "caravan/kernels/attention_tiles.h"
#include "caravan/kernels/exponential.h"

namespace caravan::kernels {
namespace {

constexpr int64_t kLanes = 16;

// Queries [at, at + n) of a head, counted row by row, n <= kTreeChunk, and what they have summed so far.
struct Chunk {
  const TreeHead& head;
  int64_t at, n;
  float *queries, *outputs;  // [kTreeChunk, D] and [kTreeChunk, tree_width(D)]
  float *sums, *largest;     // of the weights, in lanes: [kTreeChunk, kLanes]; of the scores: [kTreeChunk]
  float* tail;               // [head.tail] scores of one query

  int64_t row(int64_t i) const { return (at + i) / head.group; }
  int64_t offset(int64_t i) const { return row(i) * head.row_stride + (at + i) % head.group * head.width; }
  // Where the tokens that query i sees end, and the first of them, counted through prompt and tail.
  int64_t last(int64_t i) const { return head.visible[row(i)]; }
  int64_t first(int64_t i) const {
    const int64_t end = head.tail > 0 ? head.tokens + head.tail : last(i);
    return head.window > 0 && end > head.window ? end - head.window : 0;
  }
};

template <class T>
Chunk make_chunk(const TreeHead& head, int64_t at, int64_t n) {
  const int64_t width = head.width, padded = tree_width(width);
  float *queries = head.scratch, *outputs = queries + kTreeChunk * width, *sums = outputs + kTreeChunk * padded;
  float* largest = sums + kTreeChunk * kLanes;
  const Chunk c{head, at, n, queries, outputs, sums, largest, largest + kTreeChunk};
  const int64_t whole = (n + kQueries - 1) / kQueries * kQueries;
  for (int64_t i = 0; i < whole; ++i) {
    const T* q = static_cast<const T*>(head.queries) + (i < n ? c.offset(i) : 0);
    for (int64_t d = 0; d < width; ++d) queries[i * width + d] = i < n ? load(q[d]) : 0.0f;
    largest[i] = -INFINITY;
  }
  memset(outputs, 0, static_cast<size_t>(whole * padded) * sizeof(float));
  memset(sums, 0, static_cast<size_t>(whole * kLanes) * sizeof(float));
  return c;
}

// Query i's scores of the tokens in `block` become weights, 0 where it does not see them; both in whole vectors,
// counted from the block's first. Returns what its earlier sums are to be multiplied with.
float soften(const Chunk& c, int64_t i, float* scores, const Tokens& seen, const Tokens& block) {
  if (seen.low >= seen.high) {
    for (int64_t t = block.low; t < block.high; ++t) scores[t] = 0.0f;
    return 1.0f;
  }
  for (int64_t t = block.low; t < seen.low; ++t) scores[t] = -INFINITY;
  for (int64_t t = seen.high; t < block.high; ++t) scores[t] = -INFINITY;
  const float scale = c.head.scale, before = c.largest[i];
  Floats most = all(before);
  for (int64_t t = block.low; t < block.high; t += kLanes) most = larger(load(scores + t), most);
  const float highest = largest(most), factor = exponential_of_negative(scale * (before - highest));
  for (int64_t t = block.low; t < block.high; ++t) scores[t] = exponential_of_negative(scale * (scores[t] - highest));
  for (int64_t t = block.low; t < seen.low; ++t) scores[t] = 0.0f;
  for (int64_t t = seen.high; t < block.high; ++t) scores[t] = 0.0f;
  Floats sums = multiply(load(c.sums + i * kLanes), all(factor));
  for (int64_t t = block.low; t < block.high; t += kLanes) sums = add(sums, load(scores + t));
  store(sums, c.sums + i * kLanes);
  c.largest[i] = highest;
  return factor;
}

// 16 V features of six outputs, which lie as far apart as values do: times `factors`, and the weighted values added.
template <int V>
void blend(const Scores& weights, const float* factors, const Along& values, const Tokens& tokens, float* outputs) {
  Floats sums[kQueries][V];
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < V; ++v) sums[q][v] = multiply(load(outputs + q * values.width + 16 * v), all(factors[q]));
  }
  add_weighted_rows<V>(weights, values, tokens, sums);
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < V; ++v) store(sums[q][v], outputs + q * values.width + 16 * v);
  }
}

// Six queries from i on meet the keys and values of a block that begins with token `begin`.
void attend_block(const Chunk& c, int64_t i, int64_t begin) {
  const TreeHead& h = c.head;
  const int64_t end = h.tokens - begin < kTreeTokens ? h.tokens : begin + kTreeTokens;
  Tokens seen[kQueries] = {}, any = {kTreeTokens, 0};
  for (int64_t q = 0; q < kQueries; ++q) {
    if (i + q >= c.n) continue;
    const int64_t first = c.first(i + q), last = c.last(i + q);
    seen[q] = {(first > begin ? first : begin) - begin, (last < end ? last : end) - begin};
    if (seen[q].low >= seen[q].high) continue;
    any.low = seen[q].low < any.low ? seen[q].low : any.low;
    any.high = seen[q].high > any.high ? seen[q].high : any.high;
  }
  if (any.low >= any.high) return;
  const Tokens vectors = {any.low / 16 * 16, (any.high + 15) / 16 * 16};
  alignas(64) float scores[kQueries * kTreeTokens];
  const Scores rows{scores, kTreeTokens};
  products(c.queries + i * h.width, {h.keys + begin * h.width, h.width}, vectors, rows);
  float factors[kQueries];
  for (int64_t q = 0; q < kQueries; ++q) factors[q] = soften(c, i + q, rows.row(q), seen[q], vectors);
  const int64_t padded = tree_width(h.width);
  const float* values = h.values + begin * padded;
  float* outputs = c.outputs + i * padded;
  int64_t d = 0;
  for (; d + 16 * kVectors <= padded; d += 16 * kVectors)
    blend<kVectors>(rows, factors, {values + d, padded}, any, outputs + d);
  for (; d < padded; d += 16) blend<1>(rows, factors, {values + d, padded}, any, outputs + d);
}

template <class T>
float dot(const float* q, const T* k, int64_t width) {
  Floats sums = zeros();
  int64_t d = 0;
  for (; d + 16 <= width; d += 16) sums = multiply_add(load(q + d), load(k + d), sums);
  float rest = 0.0f;
  for (; d < width; ++d) rest += q[d] * load(k[d]);
  return sum(sums) + rest;
}

// What query i sees behind the prompt.
template <class T>
void attend_tail(const Chunk& c, int64_t i) {
  const TreeHead& h = c.head;
  const int64_t from = c.first(i) > h.tokens ? c.first(i) - h.tokens : 0, at = c.row(i) * h.tail;
  float largest = c.largest[i];
  for (int64_t t = from; t < h.tail; ++t) {
    c.tail[t] = dot(c.queries + i * h.width, static_cast<const T*>(h.tail_keys[at + t]), h.width);
    largest = c.tail[t] > largest ? c.tail[t] : largest;
  }
  const float factor = exponential_of_negative(h.scale * (c.largest[i] - largest));
  float *output = c.outputs + i * tree_width(h.width), *sums = c.sums + i * kLanes;
  for (int64_t d = 0; d < h.width; ++d) output[d] *= factor;
  for (int64_t j = 0; j < kLanes; ++j) sums[j] *= factor;
  for (int64_t t = from; t < h.tail; ++t) {
    const float weight = exponential_of_negative(h.scale * (c.tail[t] - largest));
    const T* value = static_cast<const T*>(h.tail_values[at + t]);
    for (int64_t d = 0; d < h.width; ++d) output[d] += weight * load(value[d]);
    sums[t % kLanes] += weight;
  }
}

template <class T>
void attend(const TreeHead& head) {
  const int64_t count = head.rows * head.group;
  for (int64_t at = 0; at < count; at += kTreeChunk) {
    const Chunk c = make_chunk<T>(head, at, count - at < kTreeChunk ? count - at : kTreeChunk);
    for (int64_t begin = 0; begin < head.tokens; begin += kTreeTokens) {
      for (int64_t i = 0; i < c.n; i += kQueries) attend_block(c, i, begin);
    }
    for (int64_t i = 0; i < c.n; ++i) {
      if (head.tail > 0) attend_tail<T>(c, i);
      float total = 0.0f;
      for (int64_t j = 0; j < kLanes; ++j) total += c.sums[i * kLanes + j];
      const float inverse = 1.0f / total, *output = c.outputs + i * tree_width(head.width);
      T* to = static_cast<T*>(head.output) + c.offset(i);
      for (int64_t d = 0; d < head.width; ++d) store(output[d] * inverse, to + d);
    }
  }
}

template <class T>
void pack(const T* keys, const T* values, int64_t tokens, int64_t stride, int64_t width, float* packed_keys,
          float* packed_values) {
  const int64_t padded = tree_width(width);
  // Sixteen tokens at a time: their features are read along the cache lines, and written a whole line each. What lies
  // behind the last sixteen of a block is never read.
  for (int64_t from = 0; from < tokens; from += 16) {
    float* to = packed_keys + from / kTreeTokens * kTreeTokens * width + from % kTreeTokens;
    for (int64_t d = 0; d < width; ++d, to += kTreeTokens) {
      for (int64_t t = 0; t < 16; ++t) to[t] = from + t < tokens ? load(keys[(from + t) * stride + d]) : 0.0f;
    }
  }
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t d = 0; d < padded; ++d)
      packed_values[t * padded + d] = d < width ? load(values[t * stride + d]) : 0.0f;
  }
}

}  // namespace

extern const TreeTable CARAVAN_TREE;
const TreeTable CARAVAN_TREE = {attend<float>, attend<uint16_t>, pack<float>, pack<uint16_t>};

}  // namespace caravan::kernels
