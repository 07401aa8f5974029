// `caravan items build`: item vectors, item codes, their tokenizer and a report, into the dataset's folder.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/items.h"
#include "caravan/cli/log.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/cli/results_folder.h"
#include "caravan/codes/build_codes.h"
#include "caravan/codes/code_tokenizer.h"
#include "caravan/codes/item_vectors.h"
#include "caravan/codes/report_page.h"
#include "caravan/data/dataset.h"
#include "caravan/models/tensor_file.h"

namespace caravan::cli {
namespace {

struct Options {
  std::string data, out, vectors = "tfidf,cooccurrence", weights, save_vectors;
  std::vector<int64_t> codebooks = {256};
  int64_t levels = 3;
  double balance = -1;
  codes::VectorOptions vector_options;
  codes::BuildOptions build;
  int64_t max_length = 512;  // of the tokenizer
  uint64_t seed = 0;
  bool overwrite = false, json = false;
};

// A line on the terminal for the stages of a build, each of which counts its own steps.
class Stages {
 public:
  explicit Stages(bool shown) : shown_(shown) {}
  void at(const std::string& stage, uint64_t done, uint64_t total) {
    interrupt_.check("building item codes");
    if (stage != stage_ || total != total_)
      progress_.emplace(stage, total, shown_, stage == "rq-vae" ? "epochs" : "steps");
    stage_ = stage;
    total_ = total;
    progress_->update(done);
  }
  void finish() { progress_.reset(); }

 private:
  Interrupt interrupt_;
  bool shown_;
  std::string stage_;
  uint64_t total_ = 0;
  std::optional<Progress> progress_;
};

std::vector<int64_t> codebooks_of(const Options& options) {
  std::vector<int64_t> sizes = options.codebooks;
  if (sizes.size() == 1) sizes.assign(options.levels, sizes[0]);
  check(static_cast<int64_t>(sizes.size()) == options.levels, ErrorCode::invalid_argument,
        "--codebook: give one size, or one for each of the {} levels; got {}", options.levels, sizes.size());
  return sizes;
}

constexpr std::string_view kReport = "codes_report.json", kPage = "codes_report.html",
                           kCodebooks = "codebooks.safetensors";

// What would be replaced, before anything is computed.
void check_output(const Options& options) {
  if (options.overwrite) return;
  constexpr std::string_view kResults[] = {items::kCodesFile, kCodebooks, kReport, kPage};
  std::vector<std::string> paths = paths_in(options.out, kResults);
  for (std::string& path : paths_in(options.out, kTokenizerFiles)) paths.push_back(std::move(path));
  if (!options.save_vectors.empty()) paths.push_back(options.save_vectors);
  check_not_there("items build", paths);
}

// The vectors' file is written when all is computed: what is in its way is looked for before.
void check_vectors_file(const std::string& path) {
  if (path.empty()) return;
  const std::string folder = std::filesystem::path(path).parent_path().string();
  check(folder.empty() || is_folder(folder), ErrorCode::not_found, "--save-vectors {}: there is no folder '{}'", path,
        folder);
  check(!is_folder(path), ErrorCode::invalid_argument, "--save-vectors {}: a file is expected, this is a folder", path);
}

void write_files(const Options& options, const data::Dataset& dataset, const codes::BuiltCodes& built,
                 const codes::ItemVectors& vectors, const Json& report, ResultsFolder& out) {
  const items::ItemCodes item_codes = codes::to_item_codes(built.table);
  codes::write_code_tokenizer(codes::create_rq_code_tokenizer(item_codes, options.max_length), out.staging());
  codes::write_codebooks(built.quantizer, fmt::format("{}/{}", out.staging(), kCodebooks));
  write_file(fmt::format("{}/{}", out.staging(), kReport), dump_json(report) + "\n");
  write_file(fmt::format("{}/{}", out.staging(), kPage),
             codes::report_page(built.table, built.quality, vectors.vectors, dataset.items));
  items::write_codes(item_codes, fmt::format("{}/{}", out.staging(), items::kCodesFile), items::ids_of(dataset.items));
  if (!options.save_vectors.empty()) models::write_tensors(options.save_vectors, {{"vectors", vectors.vectors}});
  out.commit(items::kCodesFile);  // last: it says that all is there
}

// A level that tells no items apart: mostly vectors that are all alike, or far too large or small.
void warn_of_single_codes(const codes::Quality& quality) {
  for (size_t level = 0; level < quality.levels.size(); ++level) {
    const codes::LevelQuality& q = quality.levels[level];
    if (q.used != 1 || q.size == 1 || quality.items == 1) continue;
    log_info("warning: level {} uses one code of {} for all {} items: the vectors do not tell them apart",
             items::level_letters(static_cast<int64_t>(level)), q.size, quality.items);
  }
}

// Items that the learned codes do not tell apart: what handles collisions names them, but says nothing about them.
void warn_of_collisions(const codes::Quality& learned) {
  constexpr double kHigh = 0.2;
  if (learned.collision_rate < kHigh) return;
  log_info(
      "warning: {:.0f}% collisions: {} of {} items share all of their learned codes with others, at most {} the same "
      "ones; a larger --codebook, one more of --levels, or --vectors that tell the items apart make them fewer",
      100 * learned.collision_rate, learned.colliding_items, learned.items, learned.largest_bucket);
}

// Of the learned codes, then of what became of them.
std::string collision_lines(const codes::BuiltCodes& built, const std::string& rule) {
  const codes::Quality &learned = built.before, &handled = built.quality;
  const std::string found = fmt::format(
      "{} items, {} distinct tuples of learned codes: {:.2f}% collisions ({} items share a tuple, at most {} the same "
      "one)\n",
      learned.items, learned.tuples, 100 * learned.collision_rate, learned.colliding_items, learned.largest_bucket);
  if (rule == "allow") return found;
  return found + fmt::format("after --collisions {}: {} distinct tuples, {:.2f}% collisions\n", rule, handled.tuples,
                             100 * handled.collision_rate);
}

// Options of another method, and of vectors that are not asked for.
void check_given(const CLI::App& app, const Options& options, const std::vector<codes::VectorBlock>& blocks) {
  const auto any = [&](std::initializer_list<std::string_view> kinds) {
    return std::ranges::any_of(blocks, [&](const codes::VectorBlock& block) {
      return std::find(kinds.begin(), kinds.end(), block.kind) != kinds.end();
    });
  };
  check_companions(app, options.build.method != "rq-vae",
                   {"--pca", "--whiten", "--normalize-residuals", "--balance", "--restarts", "--iterations"},
                   "--method rq-kmeans");
  check_companions(app, options.build.method != "rq-kmeans", {"--epochs", "--lr", "--batch-size", "--latent"},
                   "--method rq-vae");
  check_companions(app, any({"cooccurrence", "ppmi"}), {"--window"}, "--vectors cooccurrence or ppmi");
  check_companions(app, any({"tfidf", "characters"}), {"--min-documents"}, "--vectors tfidf or characters");
  check_companions(app, any({"tfidf", "characters", "cooccurrence", "ppmi"}), {"--width"},
                   "vectors that are decomposed (tfidf, characters, cooccurrence, ppmi)");
}

void run(Options options, const CLI::App& app, const Settings& settings) {
  const auto blocks = codes::parse_blocks(options.vectors, options.weights);
  check_given(app, options, blocks);
  codes::check_names(options.build);
  if (settings.threads > 0) at::set_num_threads(settings.threads);
  if (options.out.empty()) options.out = options.data;
  check_output(options);
  check_vectors_file(options.save_vectors);
  options.build.rq.codebooks = codebooks_of(options);
  options.build.rq.seed = options.vector_options.seed = options.seed;
  options.build.rq.kmeans.balance_slack = options.balance;
  const data::Dataset dataset = data::read_dataset(options.data);
  Stages stages(settings.verbosity >= 0);  // from here on Ctrl-C is an error, and nothing is left behind
  ResultsFolder out(options.out, "codes.lock");
  check_output(options);  // once more: another process may just have ended
  std::vector<int64_t> popularity;
  for (const items::Item& item : dataset.items) popularity.push_back(item.count);

  options.vector_options.progress = [&](std::string_view what, uint64_t done, uint64_t total) {
    stages.at(fmt::format("vectors ({})", what), done, total);
  };
  options.build.progress = [&](const std::string& stage, uint64_t done, uint64_t total) {
    stages.at(stage, done, total);
  };
  const auto begin = std::chrono::steady_clock::now();
  const codes::ItemVectors vectors = codes::item_vectors(dataset, blocks, options.vector_options);
  const codes::BuiltCodes built = codes::build_codes(vectors.vectors, popularity, options.build);
  stages.finish();
  warn_of_single_codes(built.before);
  warn_of_collisions(built.before);
  if (const int64_t first = options.build.rq.codebooks.front(); first >= dataset.items.size() && first > 1)
    log_info(
        "warning: {} codes in the first level for {} items: every item may have its own, which says nothing about "
        "the others; a smaller --codebook lets items share codes",
        first, dataset.items.size());
  Json report = codes::report_of(built, options.build);
  report["vectors"] = vectors.report;
  report["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  write_files(options, dataset, built, vectors, report, out);
  if (options.json) return print_json(report);
  print(collision_lines(built, options.build.collisions));
  print(codes::to_text(built.quality));
  print(fmt::format("{}: codes.json, tokenizer.json, codebooks.safetensors, codes_report.html ({})\n", options.out,
                    human_seconds(report["seconds"].get<double>())));
}

void add_learning_options(CLI::App& app, Options& options) {
  codes::RqOptions& rq = options.build.rq;
  app.add_option("--method", options.build.method, "rq-kmeans (default), rq-vae")->check(filled());
  app.add_option("--levels", options.levels, "codes an item has (default: 3)")->check(whole(1, 64));
  app.add_option("--codebook", options.codebooks, "codes a level has: one size, or one a level: 256,256,128")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(whole(1, 1'000'000));
  app.add_option("--collisions", options.build.collisions,
                 "items with equal codes: counter (default; one level more), reassign, sinkhorn, allow");
  app.add_option("--pca", rq.components,
                 "rq-kmeans: principal components kept first (default: the vectors as they are; 0: the same)")
      ->check(whole(0, 1 << 20));
  app.add_flag("--whiten", rq.whiten, "rq-kmeans: scale the principal components to equal variance");
  app.add_flag("--normalize-residuals", rq.normalize_residuals, "rq-kmeans: residuals of length 1 at every level");
  app.add_option("--balance", options.balance,
                 "rq-kmeans: no cluster above (1 + this) x its fair share; 0: equal sizes (default: no limit)")
      ->check(real(0, 1e6));
  app.add_option("--restarts", rq.kmeans.restarts, "rq-kmeans: best of so many runs a level (default: 1)")
      ->check(whole(1, 1000));
  app.add_option("--iterations", rq.kmeans.max_iterations, "rq-kmeans: at most so many a level (default: 50)")
      ->check(whole(1, 1'000'000));
  app.add_option("--epochs", options.build.rq_vae.epochs, "rq-vae: passes over the items (default: 100)")
      ->check(whole(1, 1'000'000));
  app.add_option("--lr", options.build.rq_vae.lr, "rq-vae: learning rate (default: 0.001)")->check(real_above(0, 1000));
  app.add_option("--batch-size", options.build.rq_vae.batch, "rq-vae: items a step (default: 1024)")->check(whole(1));
  app.add_option("--latent", options.build.rq_vae.latent, "rq-vae: width of the quantized vector (default: 32)")
      ->check(whole(1, 1 << 16));
  app.add_option("--seed", options.seed, "equal seeds give equal codes (default: 0)")->check(whole(0, INT64_MAX));
}

}  // namespace

Run setup_items_build(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  app.add_option("data,--data", options->data, "dataset folder, as `caravan items prepare` makes it")->required();
  app.add_option("-o,--output", options->out,
                 "folder for the results, made where it is not there (default: the dataset's)")
      ->check(filled());
  app.add_option("--vectors", options->vectors,
                 "item vectors, joined: tfidf, characters, cooccurrence, ppmi, bert:FOLDER, file:PATH (.npy or "
                 "safetensors; file:PATH@IDS with a list of ids) (default: tfidf,cooccurrence)")
      ->check(filled());
  app.add_option("--weights", options->weights, "of the vectors, in their order: 1,0.5 (default: 1 each)")
      ->check(filled());
  app.add_option("--width", options->vector_options.width, "of each decomposed kind of vectors (default: 128)")
      ->check(whole(1, 1 << 20));
  app.add_option("--window", options->vector_options.window, "co-occurrence: places apart (default: 5; 0: any)")
      ->check(whole(0));
  app.add_option("--min-documents", options->vector_options.min_documents, "tfidf: a word's items (default: 2)")
      ->check(whole(1));
  app.add_option("--save-vectors", options->save_vectors, "also write the vectors to this safetensors file")
      ->check(filled());
  add_learning_options(app, *options);
  app.add_option("--max-length", options->max_length, "tokenizer: longest sequence (default: 512)")
      ->check(whole(1));
  app.add_flag("--overwrite", options->overwrite, "replace codes, tokenizer and report that are there");
  app.add_flag("--json", options->json, "print the report as JSON");
  app.footer(
      "Writes codes.json, tokenizer.json (and its two companions), codebooks.safetensors, codes_report.json and "
      ".html.\n"
      "Co-occurrence sees the training part of the sequences only.\n\nExamples:\n"
      "  caravan items build beauty\n"
      "  caravan items build --data beauty --vectors tfidf --levels 4 --codebook 256 --collisions reassign\n"
      "  caravan items build --data beauty --vectors bert:all-MiniLM-L6-v2,cooccurrence --weights 1,0.7");
  return [options, &app, &settings] { run(*options, app, settings); };
}

}  // namespace caravan::cli
