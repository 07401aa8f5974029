#include "caravan/cli/architecture_svg.h"

#include <fmt/format.h>

#include <algorithm>

#include "caravan/cli/output.h"
#include "caravan/cli/svg.h"

namespace caravan::cli {
namespace {

constexpr Paint kPanel{"#ffffff", "#d5d9e2"};
constexpr std::string_view kMuted = "#667085";
// By Part: embedding, attention, mlp, norm, head, other.
constexpr Paint kPaints[kParts] = {{"#dfeaff", "#4a76c9"}, {"#ffe4d3", "#dd7a37"}, {"#ddf3e3", "#3d9a5c"},
                                   {"#fff3c9", "#cfa010"}, {"#ecdffb", "#8657c4"}, {"#eceef2", "#8a93a3"}};
constexpr std::string_view kPartNames[kParts] = {"embedding", "attention", "MLP", "norms", "head", "other"};

constexpr Paint paint(Part part) { return kPaints[static_cast<size_t>(part)]; }

std::string number(int64_t n) { return with_commas(static_cast<uint64_t>(n)); }

std::string share(uint64_t part, uint64_t total) {
  const double percent = total == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(total);
  return part > 0 && percent < 0.05 ? "< 0.1 %" : fmt::format("{:.1f} %", percent);
}

// A coloured block with a name and up to two lines of detail.
void block(Svg& svg, const Rect& r, Part part, std::string_view name, std::initializer_list<std::string> details = {}) {
  svg.box(r, paint(part));
  const double lines =
      static_cast<double>(std::count_if(details.begin(), details.end(), [](auto& d) { return !d.empty(); }));
  double y = r.middle_y() + 5 - lines * 8;
  svg.text(r.middle_x(), y, name, {.size = 14, .anchor = "middle", .bold = true});
  for (const std::string& detail : details) {
    if (!detail.empty()) svg.text(r.middle_x(), y += 16.5, detail, {.size = 11.5, .color = kMuted, .anchor = "middle"});
  }
}

void arrow_up(Svg& svg, double x, double from, double to) { svg.line({{x, from}, {x, to}}, true); }

// Where two paths meet: a circle with its operation.
void joint(Svg& svg, double x, double y, std::string_view symbol) {
  svg.circle(x, y, 11, {"#ffffff", "#4b5563"});
  svg.text(x, y + 5.5, symbol, {.size = 16, .anchor = "middle", .bold = true});
}

// The light wedge that says "this block is that panel".
void wedge(Svg& svg, const Rect& from, const Rect& to, std::string_view color) {
  svg.polygon({{from.right(), from.y}, {to.x, to.y}, {to.x, to.bottom()}, {from.right(), from.bottom()}}, color, 0.28);
}

std::string projection_text(const Projection& p) {
  return p ? fmt::format("{} → {}{}", number(p.in), number(p.out), p.bias ? " + b" : "") : "";
}

std::string norm_name(const Architecture& a) { return a.rms_norm ? "RMSNorm" : "Norm"; }

constexpr Rect kStack{40, 300, 230, 210}, kLayer{340, 112, 300, 598}, kMlp{712, 112, 430, 258},
    kAttention{712, 394, 430, 316};

// Left: token ids to logits.
void draw_stack(Svg& svg, const Architecture& a) {
  const double x = kStack.middle_x();
  const Rect head{kStack.x, 140, kStack.width, 66}, norm{kStack.x, 234, kStack.width, 40};
  const Rect embedding{kStack.x, 552, kStack.width, 66};
  for (int i = 2; i > 0; --i) {  // cards behind the first one
    svg.box({kStack.x + 7.0 * i, kStack.y - 7.0 * i, kStack.width, kStack.height}, {"#f6f7fa", "#b9c0cd"});
  }
  svg.box(kStack, {"#eef1f7", "#7c879b"});
  svg.text(x, kStack.middle_y() - 22, "Decoder layer", {.size = 17, .anchor = "middle", .bold = true});
  svg.text(x, kStack.middle_y() + 14, fmt::format("× {}", a.layers), {.size = 26, .anchor = "middle", .bold = true});
  const uint64_t layer = a.attention_per_layer + a.mlp_per_layer + a.norm_per_layer;
  svg.text(x, kStack.middle_y() + 42, fmt::format("{} parameters each", human_count(layer)),
           {.size = 11.5, .color = kMuted, .anchor = "middle"});
  const uint64_t embedded = a.parameters[static_cast<size_t>(Part::embedding)];
  block(svg, embedding, Part::embedding, "Token embedding",
        {fmt::format("{} × {}", number(a.vocab), number(a.hidden)),
         fmt::format("{} · {}", human_count(embedded), share(embedded, a.total))});
  block(svg, norm, Part::norm, norm_name(a), {});
  const uint64_t head_size = a.parameters[static_cast<size_t>(Part::head)];
  if (!a.head_name.empty()) {
    block(
        svg, head, Part::head, a.head_name,
        {fmt::format("{} → {}", number(a.hidden), number(a.head_outputs)),
         a.tied ? "shares the embedding" : fmt::format("{} · {}", human_count(head_size), share(head_size, a.total))});
    arrow_up(svg, x, norm.y, head.bottom() + 1);
    arrow_up(svg, x, head.y, 122);
    svg.text(x, 114, fmt::format("[T, {}]", number(a.head_outputs)),
             {.size = 12, .color = kMuted, .anchor = "middle", .monospace = true});
  } else {
    arrow_up(svg, x, norm.y, 216);
  }
  arrow_up(svg, x, kStack.y - 14, norm.bottom() + 1);
  arrow_up(svg, x, embedding.y, kStack.bottom() + 1);
  arrow_up(svg, x, 664, embedding.bottom() + 1);
  svg.text(x, 682, "token ids [T]", {.size = 12, .color = kMuted, .anchor = "middle", .monospace = true});
}

// Middle: x + attention(norm(x)), then x + mlp(norm(x)).
void draw_layer(Svg& svg, const Architecture& a) {
  wedge(svg, kStack, kLayer, "#c5ccda");
  svg.box(kLayer, kPanel, 12);
  svg.text(kLayer.x + 16, kLayer.y + 26, "Decoder layer", {.size = 14, .bold = true});
  const double x = 515, bypass = 378;
  const auto at = [&](double y, double height) { return Rect{x - 100, y, 200, height}; };
  const Rect mlp = at(216, 74), norm2 = at(322, 38), attention = at(456, 82), norm1 = at(570, 38);
  block(svg, norm1, Part::norm, norm_name(a));
  block(svg, attention, Part::attention, "Self-attention",
        {fmt::format("{} heads, {} kv heads", a.heads, a.kv_heads),
         fmt::format("{} parameters", human_count(a.attention_per_layer))});
  block(svg, norm2, Part::norm, norm_name(a));
  block(svg, mlp, Part::mlp, a.gated ? "Gated MLP" : "MLP",
        {fmt::format("width {}", number(a.feed_forward)), fmt::format("{} parameters", human_count(a.mlp_per_layer))});
  arrow_up(svg, x, 690, norm1.bottom() + 1);
  arrow_up(svg, x, norm1.y, attention.bottom() + 1);
  arrow_up(svg, x, attention.y, 421);
  arrow_up(svg, x, 399, norm2.bottom() + 1);
  arrow_up(svg, x, norm2.y, mlp.bottom() + 1);
  arrow_up(svg, x, mlp.y, 187);
  arrow_up(svg, x, 165, 134);
  svg.line({{x, 648}, {bypass, 648}, {bypass, 410}, {x - 12, 410}}, true);
  svg.line({{x, 380}, {bypass, 380}, {bypass, 176}, {x - 12, 176}}, true);
  joint(svg, x, 410, "+");
  joint(svg, x, 176, "+");
  svg.text(bypass + 8, 642, "residual", {.size = 11, .color = kMuted});
  svg.text(x + 12, 686, fmt::format("x [T, {}]", number(a.hidden)), {.size = 12, .color = kMuted, .monospace = true});
  wedge(svg, mlp, kMlp, "#a9dcb8");
  wedge(svg, attention, kAttention, "#ffc9a3");
}

// Query heads as squares in the colour of the key/value head that they share, the key/value heads below them.
void draw_heads(Svg& svg, const Architecture& a, const Rect& r) {
  if (a.heads <= 0 || a.kv_heads <= 0 || a.heads % a.kv_heads != 0) return;
  static constexpr std::string_view kColors[] = {"#e58b4b", "#4a76c9", "#3d9a5c", "#8657c4",
                                                 "#cfa010", "#c9557a", "#3a9aa6", "#7d8797"};
  const int64_t shown = std::min<int64_t>(a.heads, 64), group = a.heads / a.kv_heads;
  const double step = std::min(26.0, r.width / static_cast<double>(shown)), size = step * 0.8;
  const double left = r.middle_x() - step * static_cast<double>(shown) / 2;
  for (int64_t h = 0; h < shown; ++h) {
    const std::string_view color = kColors[static_cast<size_t>(h / group) % std::size(kColors)];
    svg.box({left + static_cast<double>(h) * step, r.y, size, 11}, {color, color}, 2, 0);
  }
  for (int64_t k = 0; k * group < shown; ++k) {
    const std::string_view color = kColors[static_cast<size_t>(k) % std::size(kColors)];
    const double width = step * static_cast<double>(std::min(group, shown - k * group)) - (step - size);
    svg.box({left + static_cast<double>(k * group) * step, r.y + 15, width, 7}, {color, color}, 2, 0);
  }
}

void draw_attention(Svg& svg, const Architecture& a) {
  svg.box(kAttention, kPanel, 12);
  svg.text(kAttention.x + 16, kAttention.y + 26, "Self-attention", {.size = 14, .bold = true});
  const double left = kAttention.x + 24, width = 118, gap = 14;
  const auto column = [&](int i) { return Rect{left + i * (width + gap), kAttention.bottom() - 92, width, 48}; };
  const Rect output{kAttention.middle_x() - 95, kAttention.y + 36, 190, 44};
  const Rect core{left, kAttention.y + 102, 3 * width + 2 * gap, 70};
  const std::string rotary = a.rope.empty() ? "no rotary embedding" : a.rope;
  for (int i = 0; i < 3; ++i) {
    static constexpr std::string_view kNames[] = {"q_proj", "k_proj", "v_proj"};
    const Projection& p = i == 0 ? a.query : i == 1 ? a.key : a.value;
    block(svg, column(i), Part::attention, kNames[i], {projection_text(p)});
    arrow_up(svg, column(i).middle_x(), column(i).y, core.bottom() + 1);
    svg.line({{column(i).middle_x(), kAttention.bottom() - 24}, {column(i).middle_x(), column(i).bottom()}});
  }
  const Rect rope{column(0).x, column(0).y - 40, 2 * width + gap, 25};
  svg.box(rope, paint(Part::other));
  svg.text(rope.middle_x(), rope.y + 17, a.qk_norm ? "q/k norm, " + rotary : rotary,
           {.size = 11.5, .anchor = "middle"});
  svg.box(core, paint(Part::attention));
  svg.text(core.middle_x(), core.y + 20, fmt::format("softmax(q kᵀ / √{} + mask) v", a.head_dim),
           {.size = 13.5, .anchor = "middle", .bold = true});
  draw_heads(svg, a, {core.x + 14, core.y + 29, core.width - 28, 24});
  svg.text(core.middle_x(), core.bottom() - 6,
           fmt::format("{} query heads over {} key/value heads, width {}{}", a.heads, a.kv_heads, a.head_dim,
                       a.sliding_window > 0 ? fmt::format(", window {}", number(a.sliding_window)) : ""),
           {.size = 10.5, .color = kMuted, .anchor = "middle"});
  block(svg, output, Part::attention, "o_proj", {projection_text(a.output)});
  arrow_up(svg, core.middle_x(), core.y, output.bottom() + 1);
  arrow_up(svg, core.middle_x(), output.y, kAttention.y + 12);
  svg.line({{column(0).middle_x(), kAttention.bottom() - 24}, {column(2).middle_x(), kAttention.bottom() - 24}});
  svg.line({{core.middle_x(), kAttention.bottom() - 8}, {core.middle_x(), kAttention.bottom() - 24}});
}

void draw_mlp(Svg& svg, const Architecture& a) {
  svg.box(kMlp, kPanel, 12);
  svg.text(kMlp.x + 16, kMlp.y + 26, a.gated ? "Gated MLP" : "MLP", {.size = 14, .bold = true});
  const double x = kMlp.middle_x(), low = kMlp.bottom() - 84;
  const std::string activation = a.activation.empty() ? "activation" : a.activation;
  const Rect down{x - 95, kMlp.y + 36, 190, 44}, up{a.gated ? x + 20 : x - 85, low, 170, 46},
      gate{x - 190, low, 170, 46};
  block(svg, down, Part::mlp, a.down ? "down_proj" : "down", {projection_text(a.down)});
  block(svg, up, Part::mlp, a.up ? "up_proj" : "up", {projection_text(a.up)});
  arrow_up(svg, x, down.y, kMlp.y + 12);
  const double split = kMlp.bottom() - 22, product = kMlp.y + 112;
  if (!a.gated) {
    arrow_up(svg, x, up.y, down.bottom() + 1);
    svg.circle(x, product + 10, 15, paint(Part::other));
    svg.text(x, product + 14, activation, {.size = 10.5, .anchor = "middle"});
    return svg.line({{x, kMlp.bottom() - 8}, {x, up.bottom()}});
  }
  block(svg, gate, Part::mlp, "gate_proj", {projection_text(a.gate)});
  const Rect act{gate.middle_x() - 36, product + 14, 72, 25};
  svg.line({{gate.middle_x(), gate.y}, {gate.middle_x(), act.bottom()}});
  svg.line({{gate.middle_x(), act.y}, {gate.middle_x(), product}, {x - 12, product}}, true);
  svg.box(act, paint(Part::other));
  svg.text(act.middle_x(), act.y + 17, activation, {.size = 12, .anchor = "middle"});
  svg.line({{up.middle_x(), up.y}, {up.middle_x(), product}, {x + 12, product}}, true);
  joint(svg, x, product, "×");
  arrow_up(svg, x, product - 11, down.bottom() + 1);
  svg.line({{gate.middle_x(), gate.bottom()},
            {gate.middle_x(), split},
            {up.middle_x(), split},
            {up.middle_x(), up.bottom()}});
  svg.line({{x, kMlp.bottom() - 8}, {x, split}});
}

// Bottom: where the parameters are.
void draw_shares(Svg& svg, const Architecture& a, double y) {
  const double left = 40, width = 1102;
  double x = left, legend = left;
  svg.text(left, y - 12, "Where the parameters are", {.size = 14, .bold = true});
  for (size_t i = 0; i < kParts; ++i) {
    if (a.parameters[i] == 0 || a.total == 0) continue;
    const double w = width * static_cast<double>(a.parameters[i]) / static_cast<double>(a.total);
    svg.box({x, y, w, 26}, kPaints[i], 2, 1);
    if (w > 60) svg.text(x + w / 2, y + 17.5, share(a.parameters[i], a.total), {.size = 12, .anchor = "middle"});
    x += w;
    svg.box({legend, y + 42, 12, 12}, kPaints[i], 2, 1);
    const std::string label =
        fmt::format("{}  {} ({})", kPartNames[i], human_count(a.parameters[i]), share(a.parameters[i], a.total));
    svg.text(legend + 18, y + 52, label, {.size = 12, .color = kMuted});
    legend += 44 + 6.6 * static_cast<double>(label.size());
  }
}

}  // namespace

std::string draw_architecture(const Architecture& a) {
  Svg svg(1182, 860);
  svg.text(40, 50, a.title, {.size = 26, .bold = true});
  std::string facts = fmt::format("{} parameters · {} as {}", human_count(a.total), human_bytes(a.bytes), a.dtypes);
  if (a.vocab > 0) facts += fmt::format(" · vocabulary {}", number(a.vocab));
  if (a.context > 0) facts += fmt::format(" · context {}", number(a.context));
  svg.text(40, 76, facts, {.size = 13.5, .color = kMuted});
  draw_layer(svg, a);
  draw_stack(svg, a);
  draw_mlp(svg, a);
  draw_attention(svg, a);
  draw_shares(svg, a, 768);
  return svg.document();
}

}  // namespace caravan::cli
