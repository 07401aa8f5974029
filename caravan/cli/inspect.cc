// `caravan inspect`: what a checkpoint holds, read from its header alone: config, parameters, memory, structure,
// drawing.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "caravan/base/file.h"
#include "caravan/cli/architecture.h"
#include "caravan/cli/architecture_svg.h"
#include "caravan/cli/command.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/output_path.h"
#include "caravan/formats/checkpoint.h"

namespace caravan::cli {
namespace {

using formats::TensorInfo;

struct Options {
  std::string model, svg;
  bool json = false, tree = false, overwrite = false;
};

struct DTypeTotal {
  uint64_t tensors = 0, parameters = 0, bytes = 0;
};

std::map<std::string, DTypeTotal> totals_by_dtype(const std::vector<TensorInfo>& tensors) {
  std::map<std::string, DTypeTotal> totals;
  for (const TensorInfo& t : tensors) {
    DTypeTotal& total = totals[std::string(to_string(t.dtype))];
    total.tensors += 1, total.parameters += element_count(t), total.bytes += byte_count(t);
  }
  return totals;
}

// Bytes of the weights if matrices were of this type; vectors (norms, biases) stay f32 under a block type, and so do
// matrices whose rows are no multiple of the block.
uint64_t memory_as(const std::vector<TensorInfo>& tensors, DType dtype) {
  uint64_t bytes = 0;
  for (const TensorInfo& t : tensors) {
    const DTypeInfo& info = dtype_info(dtype);
    const bool fits = !is_block_quantized(dtype) || (t.shape.size() >= 2 && t.shape.back() % info.block_size == 0);
    bytes += static_cast<uint64_t>(tensor_bytes(fits ? dtype : DType::f32, t.shape, t.name));
  }
  return bytes;
}

constexpr DType kLoadTypes[] = {DType::f32, DType::bf16, DType::q8_0, DType::q4_0};

// What generate and chat take as they load it without --dtype: block-quantized matrices stay as they are and what lies
// beside them becomes f32, as do keys and values; without such matrices everything keeps its dtype.
struct Running {
  uint64_t weights = 0, cache_per_token = 0;  // bytes; 0 where the config does not say
  DType cache = DType::f32;
};

Running running(const std::vector<TensorInfo>& tensors, const Architecture& a) {
  Running out;
  const bool has_blocks =
      std::any_of(tensors.begin(), tensors.end(), [](const TensorInfo& t) { return is_block_quantized(t.dtype); });
  for (const TensorInfo& t : tensors) {
    const bool stays = !has_blocks || (is_block_quantized(t.dtype) && t.shape.size() == 2);
    out.weights += static_cast<uint64_t>(tensor_bytes(stays ? t.dtype : DType::f32, t.shape, t.name));
    if (part_of(t.name) == Part::embedding) out.cache = has_blocks ? DType::f32 : t.dtype;
  }
  out.cache_per_token = static_cast<uint64_t>(a.layers) * static_cast<uint64_t>(a.kv_heads) *
                        static_cast<uint64_t>(a.head_dim) * 2 *
                        static_cast<uint64_t>(dtype_info(out.cache).block_bytes);
  return out;
}

Json to_json(const formats::Checkpoint& checkpoint, const Architecture& a) {
  Json out;
  out["path"] = checkpoint.path();
  out["format"] = checkpoint.format();
  out["architecture"] = a.title;
  out["model_type"] = a.model_type;
  out["config"] = checkpoint.config();
  out["total_parameters"] = a.total;
  out["total_bytes"] = a.bytes;
  out["tensor_count"] = checkpoint.tensors().size();
  out["dtypes"] = Json::object();
  for (const auto& [name, total] : totals_by_dtype(checkpoint.tensors())) {
    out["dtypes"][name] = {{"tensors", total.tensors}, {"parameters", total.parameters}, {"bytes", total.bytes}};
  }
  out["memory"] = Json::object();
  for (const DType dtype : kLoadTypes)
    out["memory"][std::string(to_string(dtype))] = memory_as(checkpoint.tensors(), dtype);
  const Running run = running(checkpoint.tensors(), a);
  out["running"] = {{"weight_bytes", run.weights}, {"kv_cache_dtype", to_string(run.cache)}};
  out["kv_cache_bytes_per_token"] = run.cache_per_token;
  out["parameters"] = Json::array();
  for (const TensorInfo& t : checkpoint.tensors()) {
    out["parameters"].push_back({{"name", t.name},
                                 {"shape", t.shape},
                                 {"dtype", to_string(t.dtype)},
                                 {"count", element_count(t)},
                                 {"bytes", byte_count(t)}});
  }
  return out;
}

void print_summary(const formats::Checkpoint& checkpoint, const Architecture& a) {
  const auto row = [](std::string_view name, const std::string& value) {
    print(fmt::format("{:<14}{}\n", name, value));
  };
  row("path", checkpoint.path());
  row("format", std::string(checkpoint.format()));
  row("architecture", a.model_type.empty() ? a.title : fmt::format("{} ({})", a.title, a.model_type));
  row("parameters", fmt::format("{} in {} tensors", with_commas(a.total), checkpoint.tensors().size()));
  std::string stored;
  for (const auto& [name, total] : totals_by_dtype(checkpoint.tensors())) {
    stored +=
        fmt::format("{}{} {} ({} tensors)", stored.empty() ? "" : ", ", name, human_bytes(total.bytes), total.tensors);
  }
  row("stored", fmt::format("{}: {}", human_bytes(a.bytes), stored));
  std::string loaded;
  for (const DType dtype : kLoadTypes) {
    loaded += fmt::format("{}{} {}", loaded.empty() ? "" : ", ", to_string(dtype),
                          human_bytes(memory_as(checkpoint.tensors(), dtype)));
  }
  row("memory as", loaded);
  const Running run = running(checkpoint.tensors(), a);
  std::string needs = human_bytes(run.weights) + " of weights";
  if (run.cache_per_token > 0) {
    needs += fmt::format("; keys and values ({}): {} a token", to_string(run.cache), human_bytes(run.cache_per_token));
  }
  if (run.cache_per_token > 0 && a.context > 0) {
    const uint64_t cache = run.cache_per_token * static_cast<uint64_t>(a.context);
    needs += fmt::format(", {} for all {} that it can hold; {} together", human_bytes(cache),
                         with_commas(static_cast<uint64_t>(a.context)), human_bytes(run.weights + cache));
  }
  row("running takes", needs);
}

void print_config(const Json& config) {
  print("\nconfig\n");
  for (const auto& [key, value] : config.items()) {
    std::string text = dump_json(value, -1);
    if (text.size() > 120) text = text.substr(0, 117) + "...";
    print(fmt::format("  {:<28}{}\n", key, text));
  }
}

// "layers.2" before "layers.10": runs of digits compare as numbers.
bool natural_less(std::string_view a, std::string_view b) {
  const auto digits = [](std::string_view s) { return std::min(s.find_first_not_of("0123456789"), s.size()); };
  while (!a.empty() && !b.empty()) {
    const size_t m = digits(a), n = digits(b);
    const std::string_view x = a.substr(0, std::max<size_t>(m, 1)), y = b.substr(0, std::max<size_t>(n, 1));
    if (m > 0 && n > 0 && m != n) return m < n;  // names have no leading zeros
    if (x != y) return x < y;
    a.remove_prefix(x.size());
    b.remove_prefix(y.size());
  }
  return a.size() < b.size();
}

void print_table(std::vector<TensorInfo> tensors) {
  std::ranges::stable_sort(tensors, natural_less, &TensorInfo::name);
  size_t width = 4;
  for (const TensorInfo& t : tensors) width = std::max(width, std::min<size_t>(t.name.size(), 100));
  print(fmt::format("\n{:<{}}  {:<18} {:<6} {:>15} {:>10}\n", "name", width, "shape", "dtype", "count", "bytes"));
  for (const TensorInfo& t : tensors) {
    print(fmt::format("{:<{}}  {:<18} {:<6} {:>15} {:>10}\n", t.name, width,
                      fmt::format("[{}]", fmt::join(t.shape, ", ")), to_string(t.dtype), with_commas(element_count(t)),
                      human_bytes(byte_count(t))));
  }
}

void run(const Options& options, const CLI::App& app) {
  const bool to_file = !options.svg.empty() && options.svg != "-";
  check_companions(app, to_file, {"--overwrite"}, "a file for the drawing (--svg)");
  if (to_file) check_output_file("inspect", options.svg, options.overwrite);
  const auto checkpoint = formats::Checkpoint::open(options.model);
  const Architecture a = describe(checkpoint->config(), checkpoint->tensors());
  if (!options.svg.empty()) {
    const std::string drawing = draw_architecture(a);
    to_file ? write_file(options.svg, drawing) : print(drawing);
    if (!options.json && !options.tree) return;
  }
  if (options.json) return print_json(to_json(*checkpoint, a), 2);
  if (options.tree) {
    print(fmt::format("{}  {} parameters, {}\n", a.title, with_commas(a.total), a.dtypes));
    return print(format_tree(build_tree(checkpoint->tensors())));
  }
  print_summary(*checkpoint, a);
  print_config(checkpoint->config());
  print_table(checkpoint->tensors());
}

}  // namespace

Run setup_inspect(CLI::App& app, const Settings&) {
  auto options = std::make_shared<Options>();
  add_model_argument(app, options->model, "checkpoint: folder, .safetensors, .gguf, .bin, .pth ...");
  app.add_flag("--json", options->json, "print one JSON object: config, parameters, totals");
  app.add_flag("--tree", options->tree, "the structure, repeated layers folded");
  app.add_option("--svg", options->svg, "write a drawing of the architecture to this file ('-': stdout)");
  app.add_flag("--overwrite", options->overwrite, "replace a drawing that is there");
  app.footer(
      "Reads headers only: no weight is loaded.\n\nExamples:\n"
      "  caravan inspect model.gguf\n"
      "  caravan inspect model-folder --tree\n"
      "  caravan inspect model-folder --svg architecture.svg");
  return [options, &app] { run(*options, app); };
}

}  // namespace caravan::cli
