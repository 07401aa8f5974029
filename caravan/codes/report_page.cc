#include "caravan/codes/report_page.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "caravan/base/markup.h"
#include "caravan/items/codes.h"

namespace caravan::codes {
namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--card:#fff;--page:#f7f8fa;--bar:#2f6fde}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2c3442;--card:#171c26;--page:#0f131a;
--bar:#6ea0ff}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0 0 4px}
h2{font-size:17px;margin:0 0 12px}p.lead{color:var(--soft);margin:0 0 24px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-bottom:20px}
.card,section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
.card b{display:block;font-size:24px;font-variant-numeric:tabular-nums}.card span{color:var(--soft);font-size:13px}
section{margin-bottom:20px;overflow-x:auto}.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(380px,1fr));
gap:20px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:right}th{color:var(--soft);font-weight:500}
th:first-child,td:first-child{text-align:left}td.titles{text-align:left;color:var(--soft);font-size:13px}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font:12px system-ui,sans-serif}
)";

// Neighbouring codes get hues far apart (golden angle).
std::string color_of(int32_t code, double lightness = 58) {
  return fmt::format("hsl({:.0f} 62% {:.0f}%)", std::fmod(code * 137.508, 360.0), lightness);
}

std::string card(const std::string& value, std::string_view label) {
  return fmt::format("<div class=card><b>{}</b><span>{}</span></div>", value, label);
}

std::string cards(const Quality& q) {
  std::string out = "<div class=cards>";
  out += card(fmt::format("{}", q.items), "items");
  out += card(fmt::format("{}", q.tuples), "distinct tuples");
  out += card(fmt::format("{:.2f}%", 100 * q.collision_rate), "collision rate");
  out += card(fmt::format("{}", q.largest_bucket), "items on the fullest tuple");
  if (q.neighbour_recall >= 0) {
    out += card(fmt::format("{:.1f}%", 100 * q.neighbour_recall), "recall@10 of neighbours");
  }
  return out + "</div>";
}

std::string level_table(const Quality& q) {
  std::string out =
      "<section><h2>Levels</h2><table><tr><th>level<th>codes<th>used<th>perplexity<th>prefixes<th>largest prefix"
      "<th>error left<th>neighbours under the prefix<th>by chance</tr>";
  for (size_t i = 0; i < q.levels.size(); ++i) {
    const LevelQuality& l = q.levels[i];
    const auto percent = [](double v) { return v < 0 ? std::string("–") : fmt::format("{:.1f}%", 100 * v); };
    out +=
        fmt::format("<tr><td>{} (&lt;{}_…&gt;)<td>{}<td>{} ({:.0f}%)<td>{:.1f}<td>{}<td>{}<td>{}<td>{}<td>{:.2f}%</tr>",
                    i + 1, items::level_letters(static_cast<int64_t>(i)), l.size, l.used,
                    100.0 * static_cast<double>(l.used) / static_cast<double>(l.size), l.perplexity, l.prefixes,
                    l.largest_prefix, percent(l.error), percent(l.neighbours), 100 * l.neighbours_chance);
  }
  return out + "</table></section>";
}

// Items on every code of a level, fullest first, with the height that equal use would give.
std::string usage_chart(const CodeTable& table, int64_t level) {
  std::vector<int64_t> counts(table.sizes[level], 0);
  for (int32_t code : table.codes[level]) ++counts[code];
  std::sort(counts.rbegin(), counts.rend());
  constexpr double kWidth = 480, kHeight = 120;
  const double top = static_cast<double>(std::max<int64_t>(counts[0], 1)), n = static_cast<double>(counts.size());
  std::string path = fmt::format("M0 {}", kHeight);
  for (size_t i = 0; i < counts.size(); ++i) {
    path += fmt::format("L{:.1f} {:.1f}H{:.1f}", kWidth * static_cast<double>(i) / n,
                        kHeight * (1 - static_cast<double>(counts[i]) / top), kWidth * static_cast<double>(i + 1) / n);
  }
  const double fair = kHeight * (1 - static_cast<double>(table.items()) / n / top);
  return fmt::format(
      "<div><svg viewBox='0 0 {0} {1}' role=img aria-label='items on the codes of level {2}'>"
      "<path d='{3}V{4}Z' fill='var(--bar)' opacity='.85'/><line x1='0' x2='{0}' y1='{5:.1f}' y2='{5:.1f}' "
      "stroke='currentColor' stroke-dasharray='4 4' opacity='.5'/><text x='{0}' y='14' text-anchor='end'>fullest: {6} "
      "items</text><text x='0' y='{7}'>level {2}: codes by their number of items; dashed: equal use</text></svg></div>",
      kWidth, kHeight + 22, level + 1, path, kHeight, fair, counts[0], kHeight + 17);
}

std::string arc(double inner, double outer, double from, double to) {
  const auto point = [](double radius, double turn) {
    const double a = turn * 2 * std::numbers::pi - std::numbers::pi / 2;
    return fmt::format("{:.2f} {:.2f}", radius * std::cos(a), radius * std::sin(a));
  };
  to = std::min(to, from + 0.9999);
  const int large = to - from > 0.5 ? 1 : 0;
  return fmt::format("M{}A{} {} 0 {} 1 {}L{}A{} {} 0 {} 0 {}Z", point(outer, from), outer, outer, large,
                     point(outer, to), point(inner, to), inner, inner, large, point(inner, from));
}

// Ring 1: the first level's codes by their number of items; ring 2: what the second level makes of each.
std::string sunburst(const CodeTable& table, const items::Catalogue& catalogue) {
  std::string out = "<section><h2>The first two levels</h2><svg viewBox='-210 -210 420 420' role=img>";
  const double n = static_cast<double>(table.items());
  double at = 0, inner_at = 0;
  for (const auto& bucket : buckets_of(table, 1)) {
    const int32_t code = table.codes[0][bucket[0]];
    const double end = at + static_cast<double>(bucket.size()) / n;
    out += fmt::format(
        "<path d='{}' fill='{}' stroke='var(--card)' stroke-width='.6'><title>{}: {} items, such as {}</title></path>",
        arc(70, 135, at, end), color_of(code), escape_markup(items::code_token(0, code)), bucket.size(),
        escape_markup(catalogue[bucket[0]].title));
    at = end;
  }
  if (table.levels() < 2) return out + "</svg></section>";
  for (const auto& bucket : buckets_of(table, 2)) {
    const double end = inner_at + static_cast<double>(bucket.size()) / n;
    out += fmt::format("<path d='{}' fill='{}'/>", arc(137, 200, inner_at, end),
                       color_of(table.codes[0][bucket[0]], 45 + table.codes[1][bucket[0]] * 17 % 38));
    inner_at = end;
  }
  return out + "</svg></section>";
}

std::string item_map(const CodeTable& table, const Tensor& vectors) {
  if (!vectors.defined() || vectors.size(1) < 2) return {};
  const Tensor plane = principal_components(vectors, 2, false).apply(vectors).contiguous();
  const Tensor low = plane.amin(0), span = (plane.amax(0) - low).clamp_min(1e-9);
  const Tensor scaled = ((plane - low) / span * 400 - 200).contiguous();
  const auto at = scaled.accessor<float, 2>();
  const int64_t stride = std::max<int64_t>(1, table.items() / 4000);
  std::string out =
      "<section><h2>Items in the plane of their two main components</h2><svg viewBox='-208 -208 416 416' role=img>";
  for (int64_t i = 0; i < table.items(); i += stride) {
    out += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='1.7' fill='{}' opacity='.75'/>", at[i][0], at[i][1],
                       color_of(table.codes[0][i]));
  }
  return out + "</svg></section>";
}

std::string examples(const CodeTable& table, const items::Catalogue& catalogue) {
  auto buckets = buckets_of(table, 1);
  std::stable_sort(buckets.begin(), buckets.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  if (buckets.size() > 24) buckets.resize(24);
  std::string out =
      "<section><h2>The largest first-level codes</h2><table><tr><th>code<th>items<th style='text-align:left'>their "
      "most popular items</tr>";
  for (auto& bucket : buckets) {
    std::stable_sort(bucket.begin(), bucket.end(),
                     [&](int32_t a, int32_t b) { return catalogue[a].count > catalogue[b].count; });
    std::string titles;
    for (size_t i = 0; i < std::min<size_t>(bucket.size(), 4); ++i) {
      const items::Item& item = catalogue[bucket[i]];
      titles += (i > 0 ? " · " : "") + escape_markup(item.title.empty() ? item.id : item.title);
    }
    const int32_t code = table.codes[0][bucket[0]];
    out += fmt::format("<tr><td><span style='color:{}'>●</span> {}<td>{}<td class=titles>{}</tr>", color_of(code),
                       escape_markup(items::code_token(0, code)), bucket.size(), titles);
  }
  return out + "</table></section>";
}

}  // namespace

std::string report_page(const CodeTable& table, const Quality& quality, const Tensor& vectors,
                        const items::Catalogue& catalogue) {
  std::string sizes;
  for (int64_t size : table.sizes) sizes += (sizes.empty() ? "" : " × ") + std::to_string(size);
  std::string out = fmt::format(
      "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
      "<title>Item codes</title><style>{}</style><main><h1>Item codes</h1><p class=lead>{} items in {} levels of {} "
      "codes</p>{}{}",
      kStyle, quality.items, table.levels(), sizes, cards(quality), level_table(quality));
  out += "<section><h2>Use of the codes</h2><div class=two>";
  for (int64_t level = 0; level < table.levels(); ++level) out += usage_chart(table, level);
  out += "</div></section><div class=two>" + sunburst(table, catalogue) + item_map(table, vectors) + "</div>";
  return out + examples(table, catalogue) + "</main></html>\n";
}

}  // namespace caravan::codes
