// A small writer of SVG drawings: shapes and text in, a document out. Text is escaped; numbers are pixels.
//
//   Svg svg(400, 200);
//   svg.box({20, 20, 120, 40}, kBlue);
//   svg.text(80, 45, "RMSNorm", {.anchor = "middle"});
//   std::string document = svg.document();
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caravan::cli {

struct Rect {
  double x, y, width, height;
  double right() const { return x + width; }
  double bottom() const { return y + height; }
  double middle_x() const { return x + width / 2; }
  double middle_y() const { return y + height / 2; }
};

struct Paint {
  std::string_view fill, stroke;
};

struct TextStyle {
  double size = 13;
  std::string_view color = "#1f2430";
  std::string_view anchor = "start";  // "middle", "end"
  bool bold = false, monospace = false;
};

class Svg {
 public:
  Svg(double width, double height);
  void box(const Rect& r, const Paint& paint, double radius = 8, double stroke_width = 1.4);
  void polygon(const std::vector<std::pair<double, double>>& points, std::string_view fill, double opacity);
  void line(const std::vector<std::pair<double, double>>& points, bool arrow = false,
            std::string_view color = "#4b5563");
  void circle(double x, double y, double radius, const Paint& paint);
  void text(double x, double y, std::string_view content, const TextStyle& style = {});
  std::string document() const;

 private:
  double width_, height_;
  std::string body_;
};

}  // namespace caravan::cli
