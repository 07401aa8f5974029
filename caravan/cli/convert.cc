// `caravan convert`: copies a checkpoint into another format or dtype with all that belongs to it: tokenizer, chat
// template, generation config. Streams tensor by tensor; nothing appears under the final name before all is written.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/command.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/output.h"
#include "caravan/cli/output_path.h"
#include "caravan/cli/progress.h"
#include "caravan/cli/tokenizer_files.h"
#include "caravan/formats/convert.h"
#include "caravan/models/load.h"
#include "caravan/ops/dequantize.h"

namespace caravan::cli {
namespace {

using formats::Checkpoint;
using formats::ConvertOptions;

struct Options {
  std::string in, out, to, dtype, shard;
  bool overwrite = false, json = false;
};

std::string chosen_format(const Options& options) {
  const std::filesystem::path out(options.out);
  if (!options.to.empty()) return options.to;
  if (out.extension() == ".gguf") return "gguf";
  for (const char* extension : {".safetensors", ".bin", ".pth", ".pt", ".msgpack"}) {
    check(out.extension() != extension, ErrorCode::invalid_argument,
          "convert: OUT is a folder that gets config.json, the tokenizer and the weights; got the file name '{}'",
          options.out);
  }
  return "safetensors";
}

// "5GB", "500MB", "1000000": decimal units, as Hugging Face writes them.
int64_t parse_size(const std::string& text) {
  static constexpr std::pair<std::string_view, int64_t> kUnits[] = {
      {"GB", 1'000'000'000}, {"MB", 1'000'000}, {"KB", 1'000}, {"", 1}};
  for (const auto& [unit, bytes] : kUnits) {
    if (!text.ends_with(unit)) continue;
    const std::string digits = text.substr(0, text.size() - unit.size());
    if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos ||
        digits == "0")
      break;
    return std::stoll(digits) * bytes;
  }
  fail(ErrorCode::invalid_argument, "--max-shard-size: expected a size such as 5GB or 500MB, got '{}'", text);
}

void check_target(const Options& options, const std::string& format) {
  check(format != "gguf" || options.shard.empty(), ErrorCode::invalid_argument,
        "--max-shard-size: a GGUF is written as one file");
  check_output("convert", options.out, options.overwrite);
  check(format != "gguf" || !is_folder(options.out), ErrorCode::invalid_argument,
        "convert: a GGUF is a file, and '{}' is a folder", options.out);
  check(format == "gguf" || !file_exists(options.out), ErrorCode::invalid_argument,
        "convert: a {} checkpoint is a folder, and '{}' is a file", format, options.out);
}

ConvertOptions convert_options(const Options& options, const Checkpoint& from, const std::string& format,
                               const Warn& warn) {
  ConvertOptions convert;
  convert.write.format = format;
  convert.warn = warn;
  if (!options.shard.empty()) convert.write.max_shard_bytes = parse_size(options.shard);
  if (!options.dtype.empty()) {
    convert.dtype = find_dtype(options.dtype);
    check(convert.dtype.has_value(), ErrorCode::invalid_argument, "--dtype: expected f32, bf16, f16 or f64, got '{}'",
          options.dtype);
  }
  convert.dequantize = [](DType dtype, std::span<const std::byte> blocks, std::span<float> values) {
    ops::dequantize(dtype, blocks.data(), values.data(), static_cast<int64_t>(values.size()));
  };
  const bool from_gguf = from.format() == "gguf";  // to GGUF: formats::convert takes the vocabulary over as it is
  if (format == "gguf" && !from_gguf) convert.write.gguf_metadata = gguf_tokenizer_metadata(from, warn);
  if (format != "gguf" && from_gguf) convert.write.side_files = tokenizer_files(from, warn);
  return convert;
}

void run(const Options& options, const Settings& settings) {
  const std::string format = chosen_format(options);
  const auto known = formats::writer_formats();
  check(std::find(known.begin(), known.end(), format) != known.end(), ErrorCode::invalid_argument,
        "--to: unknown format '{}'; formats written: {}", format, fmt::join(known, ", "));
  check_target(options, format);
  const auto from = Checkpoint::open(options.in);
  models::check_complete(*from);
  std::vector<std::string> warnings;
  ConvertOptions convert =
      convert_options(options, *from, format, [&](const std::string& line) { warnings.push_back(line); });

  uint64_t total = 0;
  const formats::ConvertPlan plan = formats::plan_conversion(*from, convert);
  for (const formats::TensorInfo& t : plan.tensors)
    total += static_cast<uint64_t>(tensor_bytes(t.dtype, t.shape, t.name));
  double seconds = 0;
  {
    const Interrupt interrupt;
    Progress progress("converting", total, settings.verbosity >= 0);
    convert.progress = [&](const formats::ConvertProgress& at) {
      interrupt.check("converting");
      progress.update(static_cast<uint64_t>(at.bytes_done), at.tensor.name);
    };
    formats::convert(*from, options.out, convert);
    seconds = progress.seconds();
  }
  for (const std::string& line : warnings) log_info("warning: {}", line);
  if (options.json) {
    return print_json({{"path", options.out},
                       {"format", format},
                       {"tensors", plan.tensors.size()},
                       {"bytes", total},
                       {"warnings", warnings},
                       {"seconds", seconds}});
  }
  print(fmt::format("{}: {} tensors, {} as {}, {} ({}/s)\n", options.out, plan.tensors.size(), human_bytes(total),
                    format, human_seconds(seconds),
                    human_bytes(static_cast<uint64_t>(static_cast<double>(total) / std::max(seconds, 1e-6)))));
}

}  // namespace

Run setup_convert(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  app.add_option("in", options->in, "checkpoint: folder, .safetensors, .gguf, .bin, .pth, Meta's folder ...")
      ->required();
  app.add_option("out", options->out, "folder to make, or a .gguf file")->required();
  app.add_option(
      "--to", options->to,
      fmt::format("{} (default: by OUT's name, else safetensors)", fmt::join(formats::writer_formats(), ", ")));
  app.add_option("--dtype", options->dtype, "f32, bf16, f16, f64 (default: as stored, bit for bit)");
  app.add_option("--max-shard-size", options->shard, "larger checkpoints are split into files (default: 5GB)");
  app.add_flag("--overwrite", options->overwrite, "replace OUT where it exists");
  app.add_flag("--json", options->json, "print one JSON object at the end");
  app.footer(
      "Memory stays within a few tensors; an interrupted convert leaves nothing behind.\n\nExamples:\n"
      "  caravan convert model.gguf model-folder --dtype bf16\n"
      "  caravan convert model-folder model.gguf\n"
      "  caravan convert llama-2-7b-meta model-folder --to safetensors --max-shard-size 2GB");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
