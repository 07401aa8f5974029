#include "caravan/train/report.h"
#include "caravan/base/markup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace caravan::train {
namespace {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // step, value
};

constexpr double kWidth = 640, kHeight = 240, kLeft = 64, kBottom = 28, kTop = 12, kRight = 12;
constexpr std::array<const char*, 4> kColors = {"#1f6f8b", "#c8553d", "#5b8c5a", "#7b5ea7"};

Series series_of(const std::vector<Json>& rows, const std::string& key, const std::string& inside = "") {
  Series series{.name = key};
  for (const Json& row : rows) {
    const Json* holder = inside.empty() ? &row : find_member(row, inside);
    const Json* value = holder != nullptr ? find_member(*holder, key) : nullptr;
    if (value != nullptr && value->is_number() && std::isfinite(value->get<double>()))
      series.points.emplace_back(row.at("step").get<double>(), value->get<double>());
  }
  return series;
}

// A round number at or above range / 5: 1, 2 or 5 times a power of ten.
double tick_step(double range) {
  const double raw = std::max(range, 1e-30) / 5, power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * 0.999) return factor * power;
  }
  return 10 * power;
}

struct Range {
  double low = 0, high = 1;
};

Range range_of(const std::vector<Series>& all, bool of_steps) {
  Range r{INFINITY, -INFINITY};
  for (const Series& s : all) {
    for (const auto& [x, y] : s.points) {
      r.low = std::min(r.low, of_steps ? x : y);
      r.high = std::max(r.high, of_steps ? x : y);
    }
  }
  if (r.high - r.low < 1e-12 * std::max(1.0, std::abs(r.high)))
    r.low -= 0.5 * std::max(1e-6, std::abs(r.low)), r.high += 0.5 * std::max(1e-6, std::abs(r.high));
  return r;
}

std::string axes(const Range& x, const Range& y) {
  std::string svg;
  const auto sx = [&](double v) { return kLeft + (v - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight); };
  const auto sy = [&](double v) {
    return kHeight - kBottom - (v - y.low) / (y.high - y.low) * (kHeight - kBottom - kTop);
  };
  const double dy = tick_step(y.high - y.low), dx = tick_step(x.high - x.low);
  for (double v = std::ceil(y.low / dy) * dy; v <= y.high; v += dy) {
    svg += fmt::format(
        "<line x1='{0}' x2='{1}' y1='{2:.1f}' y2='{2:.1f}' class='grid'/><text x='{3}' y='{4:.1f}' "
        "text-anchor='end'>{5:.4g}</text>",
        kLeft, kWidth - kRight, sy(v), kLeft - 6, sy(v) + 4, std::abs(v) < dy * 1e-6 ? 0.0 : v);
  }
  for (double v = std::ceil(x.low / dx) * dx; v <= x.high; v += dx)
    svg += fmt::format("<text x='{:.1f}' y='{}' text-anchor='middle'>{:.6g}</text>", sx(v), kHeight - 8, v);
  return svg;
}

std::string chart(const std::string& title, std::vector<Series> all) {
  std::erase_if(all, [](const Series& s) { return s.points.empty(); });
  if (all.empty()) return "";
  const Range x = range_of(all, true), y = range_of(all, false);
  std::string svg = axes(x, y), legend;
  for (size_t i = 0; i < all.size(); ++i) {
    std::string points;
    for (const auto& [px, py] : all[i].points)
      points += fmt::format("{:.1f},{:.1f} ", kLeft + (px - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight),
                            kHeight - kBottom - (py - y.low) / (y.high - y.low) * (kHeight - kBottom - kTop));
    const char* color = kColors[i % kColors.size()];
    svg += all[i].points.size() == 1
               ? fmt::format("<circle r='3' fill='{}' cx='{}' cy='{}'/>", color, points.substr(0, points.find(',')),
                             points.substr(points.find(',') + 1, points.size() - points.find(',') - 2))
               : fmt::format("<polyline points='{}' fill='none' stroke='{}' stroke-width='1.6'/>", points, color);
    legend += fmt::format(" <span style='color:{}'>&#9632; {}</span>", color, escape_markup(all[i].name));
  }
  return fmt::format("<figure><figcaption>{}{}</figcaption><svg viewBox='0 0 {} {}'>{}</svg></figure>\n",
                     escape_markup(title), legend, kWidth, kHeight, svg);
}

// Metrics of evaluations beside the loss: validation_accuracy ...
std::vector<std::string> other_metrics(const std::vector<Json>& rows) {
  static constexpr std::array kKnown = {"step",     "loss", "lr", "epoch", "gradient_norm", "tokens", "validation_loss",
                                        "bad_steps"};
  std::vector<std::string> names;
  for (const Json& row : rows) {
    for (const auto& [key, value] : row.items()) {
      const bool known = std::find(kKnown.begin(), kKnown.end(), key) != kKnown.end();
      if (!known && value.is_number() && std::find(names.begin(), names.end(), key) == names.end())
        names.push_back(key);
    }
  }
  return names;
}

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1360px;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "figure{display:inline-block;width:640px;max-width:100%;margin:0 1em 1.5em 0}figcaption{font-weight:600}"
    "figcaption span{font-weight:400;margin-left:1em}svg{width:100%}svg text{font-size:11px;fill:#666}"
    ".grid{stroke:#e4e4e4}table{border-collapse:collapse}td{padding:.1em 1em .1em 0}pre{background:#f6f6f4;padding:1em;"
    "overflow:auto}";

}  // namespace

std::string make_report(const std::string& title, const std::vector<Json>& rows, const std::string& config,
                        const Json& plan) {
  std::string html = fmt::format(
      "<!doctype html><html lang='en'><meta charset='utf-8'><title>{0}</title><style>{1}</style><h1>{0}</h1>\n<table>",
      escape_markup(title), kStyle);
  for (const auto& [key, value] : plan.items())
    html += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escape_markup(key),
                        escape_markup(value.is_string() ? value.get<std::string>() : value.dump()));
  html += "</table>\n";
  html += chart("Loss", {series_of(rows, "loss"), series_of(rows, "validation_loss")});
  for (const std::string& name : other_metrics(rows)) html += chart(name, {series_of(rows, name)});
  html += chart("Learning rate", {series_of(rows, "lr")});
  html += chart("Gradient norm", {series_of(rows, "gradient_norm")});
  html += chart("Tokens per second", {series_of(rows, "tokens_per_second", "timing")});
  for (const Json& row : rows) {
    const Json* text = find_member(row, "sample");
    if (text != nullptr && text->is_string())
      html += fmt::format("<p><b>Output at step {}</b></p><pre>{}</pre>", row.at("step").dump(),
                          escape_markup(text->get<std::string>()));
  }
  return html + fmt::format("<h2>Settings</h2><pre>{}</pre></html>\n", escape_markup(config));
}

}  // namespace caravan::train
