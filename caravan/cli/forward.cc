// `caravan forward`: runs a model once and writes what transformers' model(**inputs) returns, under its names and
// shapes. Places that the padding mask hides are computed as transformers computes them (no other token sees them).
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include <optional>

#include "caravan/base/error.h"
#include "caravan/cli/command.h"
#include "caravan/cli/forward_inputs.h"
#include "caravan/cli/log.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/observers.h"
#include "caravan/cli/output.h"
#include "caravan/cli/output_path.h"
#include "caravan/items/prompt.h"
#include "caravan/models/heads.h"
#include "caravan/models/stored_config.h"
#include "caravan/models/tensor_file.h"

namespace caravan::cli {
namespace {

using at::Tensor;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct Options {
  ModelOptions model;
  std::vector<std::string> ids;
  std::string inputs, out, task;
  bool hidden_states = false, attentions = false, grad_norms = false, grads = false, json = false, check = false,
       profile = false, overwrite = false;
  bool wants_gradients() const { return grad_norms || grads; }
};

struct Task {
  std::string_view name, suffix;
};
constexpr Task kTasks[] = {{"causal-lm", "ForCausalLM"},
                           {"sequence-classification", "ForSequenceClassification"},
                           {"token-classification", "ForTokenClassification"},
                           {"question-answering", "ForQuestionAnswering"},
                           {"base", "Model"}};

std::string listed(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

// The head that --task asks for, else the config's. A checkpoint of another head is taken as transformers takes it.
std::unique_ptr<models::Head> load_model(const Options& options, const Settings& settings) {
  models::LoadOptions load = load_options(options.model, settings);
  load.keep_mapped = !options.wants_gradients();
  const auto checkpoint = formats::Checkpoint::open(options.model.model);
  if (options.task.empty()) return models::load_head(*checkpoint, load);
  std::string names;
  for (const Task& task : kTasks) {
    names.append(names.empty() ? "" : ", ").append(task.name);
    if (task.name != options.task) continue;
    Json config = models::stored_config(*checkpoint);
    const std::string place = checkpoint->place_of("config.json");
    const models::Family& family = models::find_family(get_string(config, "model_type", place));
    config["architectures"] = Json::array({family.class_prefix + std::string(task.suffix)});
    auto head = models::make_head(config, place);
    load.change_head = true;
    const models::LoadReport report = models::load_parameters(*head, *checkpoint, load);
    if (!report.left_out.empty())
      log_detail("{}: not used by this task: {}", checkpoint->path(), listed(report.left_out));
    if (!report.initialized.empty()) {
      log_info("warning: {}: freshly initialized, because the checkpoint has no {}", checkpoint->path(),
               listed(report.initialized));
    }
    return head;
  }
  fail(ErrorCode::invalid_argument, "--task: expected one of {}; got '{}'", names, options.task);
}

Targets targets_of(models::Head& model) {
  if (dynamic_cast<models::SequenceClassifier*>(&model) != nullptr) return Targets::sequences;
  if (dynamic_cast<models::QuestionAnswerer*>(&model) != nullptr) return Targets::spans;
  return dynamic_cast<models::Backbone*>(&model) != nullptr ? Targets::none : Targets::tokens;
}

// A recommender with a prefix mask: a sequence is read as generate reads a prompt.
bool reads_in_both_directions(const models::Head& model) {
  return items::read_prompt_format(model.config(), model.where()).prefix;
}

// One run: the inputs on the model's device, the outputs as they come.
class ForwardPass {
 public:
  ForwardPass(models::Head& model, const Options& options, const ForwardInputs& inputs)
      : model_(model),
        options_(options),
        in_(inputs),
        // Padded places are computed too: transformers' losses read them, and callers compare whole tensors.
        batch_(inputs.attention_mask, /*keep_padding=*/true),
        step_(batch_.step(inputs.position_ids)) {
    if (reads_in_both_directions(model)) step_.prefixes = batch_.lengths();
    capture_.want_hidden_states = options.hidden_states;
    capture_.want_attentions = options.attentions;
    if (options.hidden_states || options.attentions) step_.capture = &capture_;
  }

  NamedTensors run() {
    const Tensor x = embeddings();
    if (auto* backbone = dynamic_cast<models::Backbone*>(&model_)) {
      add("last_hidden_state", batch_.unpack(backbone->backbone()(x, step_)));
    } else if (auto* causal = dynamic_cast<models::CausalLm*>(&model_)) {
      run_causal(*causal, x);
    } else if (auto* classifier = dynamic_cast<models::SequenceClassifier*>(&model_)) {
      const Tensor logits = (*classifier).forward(x, step_, last_rows());
      add("logits", logits);
      if (in_.labels.defined()) loss_ = classifier->loss(logits, in_.labels);
    } else if (auto* tokens = dynamic_cast<models::TokenClassifier*>(&model_)) {
      const Tensor logits = tokens->forward(x, step_);
      add("logits", batch_.unpack(logits));
      if (in_.labels.defined()) loss_ = models::TokenClassifier::loss(logits, batch_.pack(in_.labels));
    } else if (auto* answerer = dynamic_cast<models::QuestionAnswerer*>(&model_)) {
      run_question_answerer(*answerer, x);
    } else {
      fail(ErrorCode::unsupported, "forward: the head {} has no outputs known here", model_.architecture());
    }
    add_captured();
    add_loss();
    return std::move(out_);
  }

 private:
  Tensor embeddings() {
    if (!in_.inputs_embeds.defined()) return model_.backbone().embed(batch_.pack(in_.input_ids));
    const Tensor rows = batch_.pack(in_.inputs_embeds);
    return rows.to(model_.backbone().input_embedding().weight.value.scalar_type());
  }

  void run_causal(models::CausalLm& causal, const Tensor& x) {
    const Tensor hidden = causal.backbone()(x, step_);  // [T, C]
    const Tensor logits = causal.logits(hidden);        // [T, V]
    add("logits", batch_.unpack(logits));
    if (in_.labels.defined()) loss_ = models::CausalLm::loss(logits, batch_.pack(in_.labels), step_);
  }

  void run_question_answerer(models::QuestionAnswerer& answerer, const Tensor& x) {
    const Tensor logits = answerer.forward(x, step_);  // [T, 2]
    const Tensor edges = batch_.unpack(logits);        // [B, W, 2]
    add("start_logits", edges.select(2, 0));
    add("end_logits", edges.select(2, 1));
    if (!in_.start_positions.defined() || !in_.end_positions.defined()) return;
    loss_ = models::QuestionAnswerer::loss(logits, in_.start_positions, in_.end_positions, step_);
  }

  // transformers pools the last token that is no padding token; without a pad id, the last column.
  std::vector<int64_t> last_rows() const {
    const Json* pad = find_member(model_.config(), "pad_token_id");
    if (pad == nullptr || !pad->is_number_integer() || !in_.input_ids.defined()) return {};
    return batch_.last_rows(in_.input_ids, pad->get<int64_t>());
  }

  void add_captured() {
    for (size_t i = 0; i < capture_.hidden_states.size(); ++i) {
      add(fmt::format("hidden_states.{}", i), batch_.unpack(capture_.hidden_states[i]));
    }
    for (size_t i = 0; i < capture_.attentions.size(); ++i) {
      add(fmt::format("attentions.{}", i), batch_.unpack_attention(capture_.attentions[i]));
    }
  }

  void add_loss() {
    check(loss_.defined() || !options_.wants_gradients(), ErrorCode::invalid_argument,
          "forward: gradients need a loss: give labels (start_positions and end_positions) in --inputs");
    if (!loss_.defined()) return;
    add("loss", loss_);
    if (!options_.wants_gradients()) return;
    loss_.backward();
    for (const nn::NamedParameter& p : model_.named_parameters()) {
      const Tensor& grad = p.parameter->value.grad();
      if (!grad.defined()) continue;
      if (options_.grad_norms) add("grad_norm." + p.name, grad.to(at::kFloat).norm());
      if (options_.grads) add("grad." + p.name, grad);
    }
  }

  void add(std::string name, const Tensor& value) {
    out_.emplace_back(std::move(name), value.detach().to(at::kCPU, at::kFloat));
  }

  models::Head& model_;
  const Options& options_;
  const ForwardInputs& in_;
  models::PaddedBatch batch_;
  nn::Step step_;
  nn::Capture capture_;
  Tensor loss_;
  NamedTensors out_;
};

void print_outputs(const Options& options, const NamedTensors& outputs) {
  Json list = Json::array();
  for (const auto& [name, value] : outputs) {
    Json item = {{"name", name}, {"shape", value.sizes().vec()}};
    if (value.dim() == 0) item["value"] = value.item<double>();
    if (!options.json) {
      print(fmt::format("{:<32} [{}]{}\n", name, fmt::join(value.sizes(), ", "),
                        value.dim() == 0 ? fmt::format("  {:.6g}", value.item<double>()) : ""));
    }
    list.push_back(std::move(item));
  }
  if (!options.json) return;
  Json out = {{"outputs", std::move(list)}};
  if (!options.out.empty()) out["path"] = options.out;
  print_json(out);
}

void run(const Options& options, const CLI::App& app, const Settings& settings) {
  check_companions(app, !options.out.empty(), {"--overwrite"}, "a file for the outputs (--output)");
  if (!options.out.empty()) check_output_file("forward", options.out, options.overwrite);
  check(options.ids.empty() != options.inputs.empty(), ErrorCode::invalid_argument,
        "forward: give either --ids 1,2,3 or --inputs FILE.safetensors");
  ForwardInputs inputs = options.inputs.empty() ? inputs_from_ids(options.ids) : inputs_from_file(options.inputs);
  const auto model = load_model(options, settings);
  inputs.check_and_move(model->backbone().vocab_size(), model->backbone().hidden_size(),
                        model->backbone().input_embedding().weight.value.device());
  const Targets targets = targets_of(*model);
  inputs.check_targets(targets);
  check(targets != Targets::tokens || !inputs.labels.defined() || !reads_in_both_directions(*model),
        ErrorCode::unsupported,
        "{}: labels: the model reads a sequence in both directions (\"prefix\" in \"item_prompt\"): a token's label "
        "would be among what it sees, and the loss say nothing",
        options.model.model);
  if (options.wants_gradients()) model->requires_grad();
  const at::AutoGradMode gradients(options.wants_gradients());
  Profiler profiler;
  FiniteCheck finite;
  const Observing observing(options.check     ? static_cast<nn::Observer*>(&finite)
                            : options.profile ? &profiler
                                              : nullptr);
  const NamedTensors outputs = ForwardPass(*model, options, inputs).run();
  if (options.out.empty()) log_info("nothing is written: -o FILE.safetensors takes the outputs");
  if (!options.out.empty()) models::write_tensors(options.out, outputs);
  print_outputs(options, outputs);
  if (options.profile) std::fputs(profiler.table().c_str(), stderr);
}

}  // namespace

Run setup_forward(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  app.add_option("--ids", options->ids, "token ids, as 1,2,3 (repeat for a batch, padded on the right)")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option(
      "--inputs", options->inputs,
      "safetensors file with input_ids or inputs_embeds and, optionally, attention_mask, position_ids, labels, "
      "start_positions, end_positions");
  app.add_option("-o,--output", options->out, "safetensors file for the outputs");
  app.add_flag("--overwrite", options->overwrite, "replace a file of outputs that is there");
  app.add_option(
      "--task", options->task,
      "causal-lm, sequence-classification, token-classification, question-answering, base (default: the config's)");
  app.add_flag("--hidden-states", options->hidden_states,
               "also hidden_states.0 (the embeddings) to .N (after the last norm)");
  app.add_flag("--attentions", options->attentions, "also attentions.0 to .N-1, [B, H, T, T]");
  app.add_flag("--grad-norms", options->grad_norms, "with labels: grad_norm.PARAMETER for every parameter");
  app.add_flag("--grads", options->grads, "with labels: grad.PARAMETER, the whole gradients");
  CLI::Option* check =
      app.add_flag("--check", options->check, "stop at the first activation that is not finite, and name it");
  app.add_flag("--profile", options->profile, "time and memory per module, on stderr")->excludes(check);
  app.add_flag("--json", options->json, "print names and shapes of the outputs as JSON");
  app.footer(
      "Outputs are 32-bit floats, at padded places too.\n\nExamples:\n"
      "  caravan forward -m model-folder --ids 1,15043,29892 -o out.safetensors --hidden-states\n"
      "  caravan forward -m model-folder --inputs batch.safetensors -o out.safetensors --grad-norms --dtype f32");
  return [options, &app, &settings] { run(*options, app, settings); };
}

}  // namespace caravan::cli
