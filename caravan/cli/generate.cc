// `caravan generate`: completes prompts, given as text or as token ids, with every decoding option.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/cli/command.h"
#include "caravan/cli/context_warning.h"
#include "caravan/cli/decoding_options.h"
#include "caravan/cli/id_list.h"
#include "caravan/cli/input.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/observers.h"
#include "caravan/cli/output.h"
#include "caravan/cli/speed_line.h"
#include "caravan/cli/tokenizer_source.h"
#include "caravan/generate/engine.h"

namespace caravan::cli {
namespace {

using generate::GeneratedSequence;
using generate::GenerateRequest;
using generate::GenerateResult;

struct Options {
  ModelOptions model;
  DecodingOptions decoding;
  std::vector<std::string> prompts, ids;
  std::string file, prompt_file;
  bool json = false, echo = false, no_special = false, keep_special = false, logprobs = false;
};

// A folder of weights may come without a tokenizer: then prompts are ids and there is no text.
std::optional<text::Tokenizer> find_tokenizer(const std::string& model, bool needed) {
  try {
    return load_tokenizer(model);
  } catch (const Error& error) {
    if (needed || error.code() != ErrorCode::not_found) throw;
    return std::nullopt;
  }
}

std::vector<std::string> text_prompts(const Options& options) {
  std::vector<std::string> prompts;
  for (const std::string& prompt : options.prompts) prompts.push_back(prompt == "-" ? read_prompt("-p", "-") : prompt);
  if (!options.prompt_file.empty()) prompts.push_back(read_prompt("--prompt-file", options.prompt_file));
  if (options.file.empty()) return prompts;
  LineReader reader(options.file);
  for (std::vector<std::string> lines; reader.next_batch(lines, 1 << 20);) {
    for (std::string& line : lines) {
      if (!line.empty()) prompts.push_back(std::move(line));  // an empty line is no prompt
    }
  }
  return prompts;
}

struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
};

// `vocabulary`: tokens of the model; 0: unknown.
std::vector<Prompt> all_prompts(const Options& options, const text::Tokenizer* tokenizer, int64_t vocabulary) {
  std::vector<Prompt> prompts;
  for (const std::string& text : text_prompts(options)) {
    prompts.push_back(
        {text, tokenizer->encode(text, {.add_special_tokens = !options.no_special, .details = false}).ids});
  }
  for (const std::string& text : options.ids) {
    const std::vector<int32_t> ids = parse_ids(text, "--ids");
    for (const int32_t id : ids) {
      if (vocabulary > 0) check_in_vocabulary(id, vocabulary, "--ids");
    }
    prompts.push_back({"", ids});
  }
  check(!prompts.empty() || options.file.empty(), ErrorCode::invalid_argument,
        "generate: {} is empty: it holds no prompt", options.file == "-" ? "standard input" : options.file);
  check(!prompts.empty(), ErrorCode::invalid_argument,
        "generate: give a prompt with -p TEXT (-p - reads all of standard input), --prompt-file FILE, -f FILE (a "
        "prompt a line) or --ids 1,2,3");
  for (const Prompt& prompt : prompts) {
    check(!prompt.ids.empty(), ErrorCode::invalid_argument,
          "generate: a prompt has no tokens; a model needs at least one, for example its bos token");
  }
  return prompts;
}

int64_t shortest(const std::vector<Prompt>& prompts) {
  const auto by_size = [](const Prompt& prompt) { return prompt.ids.size(); };
  return std::ssize(std::ranges::min_element(prompts, {}, by_size)->ids);
}

void warn_of_long_prompts(const Json& config, const std::vector<Prompt>& prompts,
                          const generate::GenerationConfig& decoding) {
  int64_t longest = 0;
  for (const Prompt& prompt : prompts) longest = std::max<int64_t>(longest, std::ssize(prompt.ids));
  const int64_t wanted = std::max<int64_t>(decoding.max_new_tokens.value_or(0), 0);
  warn_of_context(config, longest + wanted, fmt::format("a prompt of {} tokens and {} new ones", longest, wanted));
}

Json to_json(const GeneratedSequence& sequence, size_t prompt, bool several, bool logprobs) {
  Json out;
  if (several) out["prompt"] = prompt;
  out["ids"] = sequence.ids;
  out["text"] = sequence.text;
  out["score"] = sequence.score;
  out["finish_reason"] = to_string(sequence.reason);
  if (logprobs) out["logprobs"] = sequence.logprobs;
  return out;
}

// `seed`: of drawn tokens, else null. Without a tokenizer ids stand for the text.
void print_results(const Options& options, const std::vector<Prompt>& prompts,
                   const std::vector<GenerateResult>& results, const Json& seed, bool has_text) {
  Json sequences = Json::array();
  size_t texts = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const size_t count = results[i].sequences.size();
    for (size_t j = 0; j < count; ++j) {
      const GeneratedSequence& sequence = results[i].sequences[j];
      if (!options.json && has_text && results.size() * count > 1) {  // texts have lines of their own
        const std::string number = count > 1 ? fmt::format("{}, sequence {}", i + 1, j + 1) : std::to_string(i + 1);
        print(fmt::format("{}--- prompt {} ---\n", texts++ > 0 ? "\n" : "", number));
      }
      if (options.json) {
        sequences.push_back(to_json(sequence, i, results.size() > 1, options.logprobs));
      } else if (!has_text) {
        print(fmt::format("{}\n", fmt::join(sequence.ids, ",")));
      } else {
        print((options.echo ? prompts[i].text : "") + sequence.text + "\n");
      }
    }
  }
  if (!options.json) return;
  Json out = {{"sequences", std::move(sequences)}};
  if (!seed.is_null()) out["seed"] = seed;
  print_json(out);
}

GenerateRequest make_request(const Options& options, const Prompt& prompt, const generate::GenerationConfig& config,
                             const text::Tokenizer* tokenizer) {
  GenerateRequest request{.prompt = prompt.ids, .config = config};
  request.tokenizer = tokenizer;
  request.skip_special_tokens = !options.keep_special;
  request.logprobs = options.json;  // scores of sequences that were not searched by beams
  return request;
}

void run(const Options& options, const Settings& settings) {
  check(!options.logprobs || options.json, ErrorCode::invalid_argument,
        "generate: --logprobs are printed as JSON: add --json");
  models::LoadOptions load = load_options(options.model, settings);
  load.keep_blocks = true;
  const std::optional<at::ScalarType> cache = cache_dtype(options.model);
  const auto checkpoint = formats::Checkpoint::open(options.model.model);
  generate::GenerationConfig config = options.decoding.config(*checkpoint);
  if (config.seed == 0 && !options.decoding.given().contains("seed")) choose_seed(config);
  const bool needs_text =
      !options.prompts.empty() || !options.file.empty() || !options.prompt_file.empty() || !config.stop_strings.empty();
  const std::optional<text::Tokenizer> tokenizer = find_tokenizer(options.model.model, needs_text);
  const text::Tokenizer* text_side = tokenizer.has_value() ? &*tokenizer : nullptr;
  const std::vector<Prompt> prompts = all_prompts(options, text_side, vocabulary_of(checkpoint->config()));
  options.decoding.check_use(config, *checkpoint, shortest(prompts));
  warn_of_long_prompts(checkpoint->config(), prompts, config);
  const auto model = models::load_causal_lm(*checkpoint, load);
  const std::string& proposer = options.decoding.draft();
  const auto draft = proposer.empty() ? nullptr : models::load_causal_lm(proposer, load);
  generate::Engine engine(*model, {.cache_dtype = cache, .draft = draft.get()});

  const Json seed = config.do_sample ? Json(config.seed) : Json();
  if (config.do_sample) log_detail("seed {}", config.seed);
  const Interrupt interrupt;
  std::vector<GenerateRequest> requests;
  for (const Prompt& prompt : prompts) {
    requests.push_back(make_request(options, prompt, config, text_side));
    requests.back().cancelled = interrupt.flag();
  }
  Stopper stopper(prompts.size() == 1 ? interrupt.flag() : nullptr);  // of a batch, what is finished is printed
  const bool streams = !options.json && prompts.size() == 1 && config.num_return_sequences == 1 && text_side != nullptr;
  bool line_open = streams && options.echo;
  if (line_open) print(prompts[0].text);
  if (requests.size() == 1) {
    requests[0].on_token = [&](const generate::TokenEvent& event) {
      stopper.disarm();
      if (!streams) return true;
      print(event.text + (event.last ? "\n" : ""));
      flush_output();
      line_open = !event.last;
      return true;
    };
  }
  const std::vector<GenerateResult> results = engine.generate(std::move(requests));
  if (!streams) print_results(options, prompts, results, seed, text_side != nullptr);
  if (line_open) print("\n");
  flush_output();
  if (settings.verbosity >= 0) log_speed(results);
  check(!interrupt.raised(), ErrorCode::cancelled, "interrupted; the text so far was printed");
}

}  // namespace

Run setup_generate(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  add_cache_options(app, options->model);
  const auto repeated = [](CLI::Option* option) {
    option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  repeated(app.add_option("-p,--prompt", options->prompts,
                          "text to complete (repeat for a batch); '-': all of standard input"));
  repeated(app.add_option("--ids", options->ids, "token ids to complete, as 1,2,3 (repeat for a batch)"));
  app.add_option("--prompt-file", options->prompt_file, "a file whose whole text is one prompt ('-': stdin)");
  app.add_option("-f,--file", options->file, "prompts, one a line, empty lines left out ('-': stdin)");
  app.add_flag("--json", options->json,
               "print {\"sequences\": [{\"ids\", \"text\", \"score\"}, ...], \"seed\"}; ids are the new tokens");
  app.add_flag("--echo", options->echo, "print the prompt before its completion");
  app.add_flag("--no-special", options->no_special, "add no special tokens to the prompt");
  app.add_flag("--keep-special-tokens", options->keep_special, "show special tokens in the text");
  app.add_flag("--logprobs", options->logprobs, "--json with the log probability of every new token");
  options->decoding.add_to(app);
  options->decoding.add_draft_to(app);
  app.footer(
      "\nThe checkpoint's generation_config.json may set other defaults. Sampling options turn sampling "
      "on.\n\nExamples:\n"
      "  caravan generate -m model.gguf -p 'The capital of France is' --max-new-tokens 20\n"
      "  cat article.txt | caravan generate model.gguf -p - --max-new-tokens 100\n"
      "  caravan generate -m model-folder -p 'Once upon a time' --temperature 0.8 --top-p 0.95 --seed 1\n"
      "  caravan generate -m model-folder --ids 1,15043,29892 --num-beams 4 --num-return-sequences 4 --json");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
