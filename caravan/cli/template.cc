// `caravan template`: renders messages through a chat template, as transformers' apply_chat_template(tokenize=False).
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/command.h"
#include "caravan/cli/input.h"
#include "caravan/cli/output.h"
#include "caravan/cli/text_source.h"

namespace caravan::cli {
namespace {

struct Options {
  std::string model, messages;
  bool json = false;
};

void run(const Options& options) {
  const std::string where = options.messages == "-" ? "standard input" : options.messages;
  Json variables = parse_json(read_input(options.messages), where);
  if (variables.is_array()) variables = Json{{"messages", variables}};
  check(variables.is_object() && variables.contains("messages"), ErrorCode::invalid_argument,
        "{}: expected an object with \"messages\", or a list of messages", where);
  const std::string prompt = render_chat(options.model, std::move(variables));
  options.json ? print_json({{"prompt", prompt}}) : print(prompt);
}

}  // namespace

Run setup_template(CLI::App& app, const Settings&) {
  auto options = std::make_shared<Options>();
  add_model_argument(app, options->model, "checkpoint (folder or .gguf), or a .jinja file");
  app.add_option(
         "--messages", options->messages,
         "JSON file with messages and, optionally, tools, documents, add_generation_prompt, bos_token, eos_token "
         "and any other variable of the template; '-' for stdin")
      ->required();
  app.add_flag("--json", options->json, "print {\"prompt\": ...}");
  app.footer(
      "Prints the prompt exactly as rendered, without a newline of its own.\n\nExample:\n"
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": true}' |\n"
      "    caravan template model.gguf --messages -");
  return [options] { run(*options); };
}

}  // namespace caravan::cli
