#include "caravan/cli/svg.h"

#include <fmt/format.h>

#include "caravan/base/json.h"
#include "caravan/base/markup.h"

namespace caravan::cli {
namespace {

// XML text: valid UTF-8 without control characters, markup escaped.
std::string escape(std::string_view content) {
  std::string valid = Json::parse(dump_json(Json(content), -1)).get<std::string>();
  for (char& c : valid) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return escape_markup(valid);
}

std::string join_points(const std::vector<std::pair<double, double>>& points) {
  std::string out;
  for (const auto& [x, y] : points) out += fmt::format("{}{:.1f},{:.1f}", out.empty() ? "" : " ", x, y);
  return out;
}

}  // namespace

Svg::Svg(double width, double height) : width_(width), height_(height) {}

void Svg::box(const Rect& r, const Paint& paint, double radius, double stroke_width) {
  body_ += fmt::format(
      R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{}" fill="{}" stroke="{}" stroke-width="{}"/>)"
      "\n",
      r.x, r.y, r.width, r.height, radius, paint.fill, paint.stroke, stroke_width);
}

void Svg::polygon(const std::vector<std::pair<double, double>>& points, std::string_view fill, double opacity) {
  body_ += fmt::format("<polygon points=\"{}\" fill=\"{}\" opacity=\"{}\"/>\n", join_points(points), fill, opacity);
}

void Svg::line(const std::vector<std::pair<double, double>>& points, bool arrow, std::string_view color) {
  body_ += fmt::format(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="1.6" stroke-linejoin="round"{}/>)"
                       "\n",
                       join_points(points), color, arrow ? " marker-end=\"url(#arrow)\"" : "");
}

void Svg::circle(double x, double y, double radius, const Paint& paint) {
  body_ += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}" stroke="{}" stroke-width="1.6"/>)"
                       "\n",
                       x, y, radius, paint.fill, paint.stroke);
}

void Svg::text(double x, double y, std::string_view content, const TextStyle& style) {
  body_ += fmt::format(R"(<text x="{:.1f}" y="{:.1f}" font-size="{}" fill="{}" text-anchor="{}"{}{}>{}</text>)"
                       "\n",
                       x, y, style.size, style.color, style.anchor, style.bold ? " font-weight=\"600\"" : "",
                       style.monospace ? " class=\"mono\"" : "", escape(content));
}

std::string Svg::document() const {
  return fmt::format(
             R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} {1:.0f}">
<style>text {{ font-family: Inter, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; }}
.mono {{ font-family: 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; }}</style>
<defs><marker id="arrow" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="6.5" markerHeight="6.5" orient="auto">
<path d="M 0 1 L 9 5 L 0 9 z" fill="#4b5563"/></marker></defs>
<rect width="100%" height="100%" fill="#fcfcfd"/>
)",
             width_, height_) +
         body_ + "</svg>\n";
}

}  // namespace caravan::cli
