// `caravan quantize`: a checkpoint in fewer bits, and what that cost: perplexity, divergence and agreement against the
// source on a text, beside the size. Streams tensor by tensor; nothing appears under the final name before all is
// written.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <map>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/command.h"
#include "caravan/cli/context_warning.h"
#include "caravan/cli/finite_weights.h"
#include "caravan/cli/input.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/output_path.h"
#include "caravan/cli/progress.h"
#include "caravan/cli/quantize_report.h"
#include "caravan/cli/tokenizer_files.h"
#include "caravan/cli/tokenizer_source.h"
#include "caravan/items/lookup.h"
#include "caravan/models/check_fits.h"
#include "caravan/quant/half_range.h"
#include "caravan/quant/imatrix.h"
#include "caravan/quant/methods.h"

namespace caravan::cli {
namespace {

using formats::Checkpoint;

struct Options {
  ModelOptions model;
  std::string in, out, type = "q4_k_m", method = "rtn", calibration, imatrix;
  std::vector<std::string> rules;
  int64_t calibration_windows = 64, calibration_context = 512;
  ReportOptions report;
  bool no_report = false, overwrite = false, json = false;
};

bool to_folder(const Options& options) {
  try {
    return quant::is_folder_recipe(options.type);
  } catch (const Error& error) {
    fail(error.code(), "--type: {}", error.what());
  }
}

void check_target(const Options& options) {
  const bool folder = to_folder(options);
  check(folder || options.out.ends_with(".gguf"), ErrorCode::invalid_argument,
        "quantize: --type {} makes a GGUF: OUT must end in .gguf, got '{}'", options.type, options.out);
  check(!folder || !options.out.ends_with(".gguf"), ErrorCode::invalid_argument,
        "quantize: --type {} makes a Hugging Face folder, and '{}' is the name of a GGUF", options.type, options.out);
  check(folder || !is_folder(options.out), ErrorCode::invalid_argument,
        "quantize: a GGUF is a file, and '{}' is a folder", options.out);
  check_output("quantize", options.out, options.overwrite);
  std::error_code ignored;
  check(!std::filesystem::equivalent(options.in, options.out, ignored), ErrorCode::invalid_argument,
        "quantize: IN and OUT are the same '{}'", options.in);
}

// What the model sees of the calibration text.
std::vector<std::vector<int32_t>> calibration_windows(const Options& options) {
  const std::string text = read_text("--calibration", options.calibration);
  const std::vector<int32_t> ids = load_tokenizer_for("--calibration", options.in).encode(text, {.details = false}).ids;
  return quant::calibration_windows(ids, options.calibration_context, options.calibration_windows);
}

quant::QuantizeOptions quantize_options(const Options& options, const Checkpoint& from) {
  quant::QuantizeOptions quantize;
  quantize.recipe.recipe = options.type;
  for (const std::string& rule : options.rules) quantize.recipe.rules.push_back(quant::parse_rule(rule));
  quantize.recipe.has_importance = !options.calibration.empty() || !options.imatrix.empty();
  const bool folder = to_folder(options), from_gguf = from.format() == "gguf";
  quantize.write.format = folder ? "compressed-tensors" : "gguf";
  const Warn warn = [](const std::string& line) { log_info("warning: {}", line); };
  quantize.warn = warn;
  if (!folder && !from_gguf) quantize.write.gguf_metadata = gguf_tokenizer_metadata(from, warn);
  if (folder && from_gguf) quantize.write.side_files = tokenizer_files(from, warn);
  return quantize;
}

struct Sizes {
  uint64_t before = 0, after = 0, numbers = 0;
  std::map<std::string, size_t> types;
};

Sizes sizes_of(const Checkpoint& from, const formats::ConvertPlan& plan) {
  Sizes sizes;
  for (const formats::TensorInfo& t : from.tensors()) {
    sizes.before += static_cast<uint64_t>(tensor_bytes(t.dtype, t.shape, t.name));
  }
  for (const formats::TensorInfo& t : plan.tensors) {
    const auto bytes = static_cast<uint64_t>(tensor_bytes(t.dtype, t.shape, t.name));
    sizes.after += bytes;
    const DTypeInfo& info = dtype_info(t.dtype);
    sizes.numbers += bytes / static_cast<uint64_t>(info.block_bytes) * static_cast<uint64_t>(info.block_size);
    ++sizes.types[std::string(to_string(t.dtype))];
  }
  return sizes;
}

double bits_per_weight(const Sizes& sizes) {
  return 8 * static_cast<double>(sizes.after) / std::max<double>(1, static_cast<double>(sizes.numbers));
}

void print_sizes(const Options& options, const Sizes& sizes, double seconds) {
  std::vector<std::string> types;
  for (const auto& [name, count] : sizes.types) types.push_back(fmt::format("{} {}", count, name));
  print(fmt::format("{}: {} -> {} ({:.2f} bits a weight; tensors: {}), {} ({}/s)\n", options.out,
                    human_bytes(sizes.before), human_bytes(sizes.after), bits_per_weight(sizes), fmt::join(types, ", "),
                    human_seconds(seconds),
                    human_bytes(static_cast<uint64_t>(static_cast<double>(sizes.before) / std::max(seconds, 1e-6)))));
}

// Where other types stand in for most of a mixture, the one that stands in most often may do as well alone.
void note_of_simpler_type(const Options& options, const Checkpoint& from, const Sizes& sizes) {
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  const std::string most = std::max_element(sizes.types.begin(), sizes.types.end(), fewer)->first;
  const std::vector<std::string> names = quant::recipe_names();
  if (to_folder(options) || !options.rules.empty() || most == options.type ||
      std::ranges::find(names, most) == names.end())
    return;
  const bool has_importance = !options.calibration.empty() || !options.imatrix.empty();
  const quant::QuantizeOptions alone{.recipe = {.recipe = most, .has_importance = has_importance},
                                     .write = {.format = "gguf"}};
  const Sizes simple = sizes_of(from, quant::plan_quantization(from, alone));
  if (simple.after > sizes.after) return;
  log_info("most of it becomes {0}, so that {1} saves nothing: --type {0} takes {2:.2f} bits a weight, {1} {3:.2f}",
           most, options.type, bits_per_weight(simple), bits_per_weight(sizes));
}

Json sizes_json(const Options& options, const Sizes& sizes, double seconds) {
  Json types = Json::object();
  for (const auto& [name, count] : sizes.types) types[name] = count;
  return {{"path", options.out},
          {"type", options.type},
          {"bytes_before", sizes.before},
          {"bytes", sizes.after},
          {"bits_per_weight", bits_per_weight(sizes)},
          {"tensors", types},
          {"seconds", seconds}};
}

// Calibrates where asked to, prepares the method, writes.
class Job {
 public:
  Job(const Options& options, const Settings& settings, const models::LoadOptions& load, const Checkpoint& from)
      : options_(options), settings_(settings), load_(load), from_(from), quantize_(quantize_options(options, from)) {
    quantize_.recipe.beyond_half = quant::beyond_half(from, quantize_.recipe);
  }

  formats::ConvertPlan plan() const { return quant::plan_quantization(from_, quantize_); }
  const quant::RecipeOptions& recipe() const { return quantize_.recipe; }

  double run(const Interrupt& interrupt) {
    const quant::Method& method = quant::find_method(options_.method);
    check(!method.needs_text || !options_.calibration.empty(), ErrorCode::invalid_argument,
          "--method {} needs a text that the model reads: --calibration FILE", method.name);
    check_blocks(method);
    if (!options_.imatrix.empty()) {
      quantize_.importances = quant::read_imatrix(options_.imatrix, from_);
      say_coverage();
    }
    quant::MethodContext context{from_, nullptr, quantize_, [&](int64_t) { interrupt.check("calibrating"); }};
    if (!options_.calibration.empty()) calibrate(method, interrupt);
    context.grams = grams_.get();
    const std::unique_ptr<Checkpoint> other = method.prepare(context);
    return write(other != nullptr ? *other : from_, interrupt);
  }

 private:
  // What weighs the errors of blocks is of no use where no tensor becomes blocks.
  void check_blocks(const quant::Method& method) const {
    const auto tensors = plan().tensors;
    if (std::ranges::any_of(tensors, [](const auto& t) { return is_block_quantized(t.dtype); })) return;
    const std::string option = method.needs_text               ? fmt::format("--method {}", method.name)
                               : !options_.calibration.empty() ? "--calibration"
                                                               : "--imatrix";
    check(!method.needs_text && options_.calibration.empty() && options_.imatrix.empty(), ErrorCode::invalid_argument,
          "{} changes nothing at --type {}, which rounds no tensor to blocks: leave it out, or choose a type such as "
          "q4_k_m",
          option, options_.type);
  }

  // Of the tensors whose errors an imatrix can weigh.
  void say_coverage() const {
    size_t blocks = 0, weighed = 0;
    for (const formats::TensorInfo& t : plan().tensors) {
      if (!is_block_quantized(t.dtype)) continue;
      ++blocks;
      if (quantize_.importances.contains(t.name.substr(0, t.name.rfind('.')))) ++weighed;
    }
    log_info("{}{}: weighs the errors of {} of {} tensors that become blocks", 2 * weighed < blocks ? "warning: " : "",
             options_.imatrix, weighed, blocks);
  }

  // What says less than was asked for.
  void warn_of_calibration(const std::vector<std::vector<int32_t>>& windows) const {
    const int64_t length = windows.empty() ? 0 : std::ssize(windows[0]);
    if (length < options_.calibration_context) {
      log_info("warning: --calibration: {} has {} tokens, less than one window of {}", options_.calibration, length,
               options_.calibration_context);
    }
    warn_of_context(from_.config(), length, fmt::format("--calibration-context: windows of {} tokens", length));
  }

  void check_finite(const std::string& tensor) const {
    const formats::TensorInfo* found = from_.find(tensor);
    if (found == nullptr) return;  // made of another: tied, or the source's under a name of its own
    const std::optional<std::string> fault = find_not_finite(from_, *found);
    check_file(!fault, FileFault::range, from_.path(), "{}: a model cannot compute with it", fault.value_or(""));
  }

  void calibrate(const quant::Method& method, const Interrupt& interrupt) {
    const auto windows = calibration_windows(options_);
    warn_of_calibration(windows);
    for (const formats::TensorInfo& t : from_.tensors()) check_finite(t.name);  // statistics would have no meaning
    model_ = models::load_causal_lm(from_, load_);
    progress_.emplace("calibrating", windows.size(), settings_.verbosity >= 0, "windows");
    const auto step = [this, &interrupt](int64_t done) {
      interrupt.check("calibrating");
      if (!writing_) progress_->update(static_cast<uint64_t>(done));  // else the line tells of the writing
    };
    if (method.needs_text) {
      grams_ = std::make_unique<quant::GramSource>(*model_, windows, quant::GramSource::Options{.progress = step});
      return;
    }
    quant::Calibration seen({});
    seen.run(*model_, windows, step);
    quantize_.importances = quant::importances_of(seen);
    progress_.reset();
    model_.reset();
  }

  double write(const Checkpoint& from, const Interrupt& interrupt) {
    uint64_t total = 0;
    for (const formats::TensorInfo& t : plan().tensors) {
      total += static_cast<uint64_t>(tensor_bytes(t.dtype, t.shape, t.name));
    }
    progress_.emplace("quantizing", total, settings_.verbosity >= 0);
    writing_ = true;
    quantize_.progress = [&](const formats::ConvertProgress& at) {
      interrupt.check("quantizing");
      check_finite(at.tensor.name);
      progress_->update(static_cast<uint64_t>(at.bytes_done), at.tensor.name);
    };
    quant::quantize_checkpoint(from, options_.out, quantize_);
    const double seconds = progress_->seconds();
    progress_.reset();
    return seconds;
  }

  const Options& options_;
  const Settings& settings_;
  const models::LoadOptions& load_;
  const Checkpoint& from_;
  quant::QuantizeOptions quantize_;
  std::unique_ptr<models::CausalLm> model_;
  std::unique_ptr<quant::GramSource> grams_;
  std::optional<Progress> progress_;
  bool writing_ = false;
};

// OUT is in place by now: an error says so.
Json measure(const Compared& compared, const ScoredText& text, const Options& options, const Settings& settings,
             const Interrupt& interrupt) {
  const auto step = [&] { check(!interrupt.raised(), ErrorCode::cancelled, "interrupted while measuring"); };
  try {
    return report_quality(compared, text, options.report, step, settings);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}; '{}' is complete", error.what(), options.out), error.fault());
  }
}

void run(const Options& options, const Settings& settings) {
  check_target(options);
  models::LoadOptions load = load_options(options.model, settings);
  const auto from = Checkpoint::open(options.in);
  formats::check_target(*from, options.out);
  models::check_fits(*from);
  Job job(options, settings, load, *from);
  const std::vector<std::string> replaced = quant::TypeChooser(*from, job.recipe()).warnings();
  for (const std::string& line : replaced) log_info("{}", line);
  const bool requantized =
      std::ranges::any_of(from->tensors(), [](const formats::TensorInfo& t) { return is_block_quantized(t.dtype); });
  if (requantized) log_info("{} is quantized already: a second rounding adds to its error", options.in);

  // Before anything is written: a report's text may turn out to be of no use.
  const bool speaks_items = options.report.file.empty() && is_folder(options.in) && items::has_item_set(options.in);
  if (speaks_items && !options.no_report)
    log_info("a recommender: text says nothing about it; what it lost is said by caravan eval recommend -m {}",
             options.out);
  const bool reports = !options.no_report && !speaks_items;
  const std::optional<ScoredText> text = reports ? std::optional(report_text(*from, options.report)) : std::nullopt;
  const Interrupt interrupt;
  const Sizes sizes = sizes_of(*from, job.plan());
  if (!replaced.empty()) note_of_simpler_type(options, *from, sizes);
  const double seconds = job.run(interrupt);
  if (!options.json) print_sizes(options, sizes, seconds);
  Json result = sizes_json(options, sizes, seconds);
  if (text) {
    flush_output();
    load.keep_blocks = true;
    const Json report = measure({*from, options.out, load}, *text, options, settings, interrupt);
    result["quality"] = report;
    if (!options.json) print(format_quality(report));
  }
  if (options.json) print_json(result);
}

}  // namespace

Run setup_quantize(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  const auto all = CLI::MultiOptionPolicy::TakeAll;
  app.add_option("in", options->in, "checkpoint: folder, .safetensors, .gguf, .bin ...")->required();
  app.add_option("out", options->out, ".gguf file to make; a folder for int4 and int8")->required();
  app.add_option("type,--type", options->type,
                 fmt::format("{} (default: q4_k_m)", fmt::join(quant::recipe_names(), ", ")));
  std::vector<std::string> methods;
  for (const quant::Method& m : quant::methods()) methods.push_back(fmt::format("{}: {}", m.name, m.summary));
  app.add_option("--method", options->method, fmt::format("{} (default: rtn)", fmt::join(methods, "; ")));
  app.add_option("--tensor-type", options->rules,
                 "PATTERN=TYPE: tensors whose name contains the pattern ('*': anything) get this type; repeatable")
      ->multi_option_policy(all)
      ->allow_extra_args(false);
  app.add_option("--calibration", options->calibration,
                 "text that the model reads first: errors are weighed by what flows through each column");
  app.add_option("--calibration-windows", options->calibration_windows, "of that text at most so many (default: 64)")
      ->check(whole(1, 1 << 20))
      ->needs("--calibration");
  app.add_option("--calibration-context", options->calibration_context, "tokens a window (default: 512)")
      ->check(whole(16, 1 << 20))
      ->needs("--calibration");
  app.add_option("--imatrix", options->imatrix, "importances from llama-imatrix (.gguf or the older .dat) instead")
      ->excludes("--calibration");
  app.add_option("--report", options->report.file,
                 "text that the loss of quality is measured on (default: a built-in one)");
  app.add_option("--report-context", options->report.context, "tokens a window there (default: 256)")
      ->check(whole(4, 1 << 20));
  app.add_flag("--no-report", options->no_report, "do not measure it")
      ->excludes("--report")
      ->excludes("--report-context");
  app.add_flag("--overwrite", options->overwrite, "replace OUT where it exists");
  app.add_flag("--json", options->json, "print one JSON object");
  app.footer(
      "\nThe report: KL is the divergence, in nats, of the quantized model's next-token probabilities from the "
      "source's;\n"
      "99%: that of the token which 99 in 100 tokens do not exceed; +-: one standard error.\n"
      "\nMemory stays within a few tensors while writing; calibration and the report load the model. An interrupted\n"
      "quantize leaves nothing behind.\n\nExamples:\n"
      "  caravan quantize model-folder model-q4_k_m.gguf\n"
      "  caravan quantize model-folder model-q6_k.gguf q6_k\n"
      "  caravan quantize model-folder model-q4.gguf --type q4_0 --tensor-type 'embed_tokens=q8_0' --calibration "
      "text.txt\n"
      "  caravan quantize model.gguf smaller.gguf --type iq4_xs --report held-out.txt --json");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
