// One function a kind of loss.
#include "caravan/formats/convert_losses.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/carried_files.h"
#include "caravan/formats/torch_checkpoint.h"

namespace caravan::formats {
namespace {

using Lines = std::vector<std::string>;

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::optional<double> number_in(const Json& object, const char* key) {
  const Json* value = find_member(object, key);
  return value != nullptr && value->is_number() ? std::optional(value->get<double>()) : std::nullopt;
}

std::string text_in(const Json& object, const char* key) {
  const Json* value = find_member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

// The rotary scaling, under the name of transformers 4 or 5.
Json rotary_scaling(const Json& config) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (const Json* scaling = find_member(config, key); scaling != nullptr && scaling->is_object()) return *scaling;
  }
  return Json::object();
}

// llama.cpp computes yarn's correction range with 32 and 1, whatever the file says.
void add_yarn(const Json& config, Lines& lines) {
  const Json scaling = rotary_scaling(config);
  if (text_in(scaling, "rope_type") != "yarn" && text_in(scaling, "type") != "yarn") return;
  const double fast = number_in(scaling, "beta_fast").value_or(32), slow = number_in(scaling, "beta_slow").value_or(1);
  if (fast == 32 && slow == 1) return;
  lines.push_back(fmt::format(
      "the rotary scaling (yarn) has beta_fast {} and beta_slow {}: they are written, but llama.cpp ignores "
      "them and computes with 32 and 1",
      fast, slow));
}

void add_window(const Json& config, Lines& lines) {
  const std::optional<double> window = number_in(config, "sliding_window");
  const Json* used = find_member(config, "use_sliding_window");
  const bool is_mistral = text_in(config, "model_type") == "mistral";
  if (!window || (used != nullptr ? *used == false : !is_mistral)) return;
  const std::optional<double> context = number_in(config, "max_position_embeddings");
  if (context && *context <= *window) return;  // no text is longer than the window
  lines.push_back(
      fmt::format("llama.cpp does not apply the sliding window in this architecture: texts of more than {} tokens are "
                  "computed with "
                  "full attention",
                  *window));
  const std::optional<double> full = number_in(config, "max_window_layers");
  if (full && *full > 0 && !is_mistral)
    lines.push_back(fmt::format("the first {} layers have no sliding window: a GGUF cannot say so", *full));
}

// Ids of eos_token_id in the config or the generation config: a number, or a list of them.
size_t count_eos(const Json& config) {
  const Json* eos = find_member(config, "eos_token_id");
  return eos == nullptr || eos->is_null() ? 0 : eos->is_array() ? eos->size() : 1;
}

void add_generation(const Checkpoint& from, Lines& lines) {
  const std::string text = from.side_file("generation_config.json");
  Json generation = Json::parse(text, nullptr, false);  // a broken one is carried over as it is, or not at all
  if (!generation.is_object()) generation = Json::object();
  if (std::max(count_eos(generation), count_eos(from.config())) > 1)
    lines.push_back("a GGUF names one end-of-text token: the others end a text only where llama.cpp knows their names");
  static constexpr std::string_view kKept[] = {"_from_model_config", "transformers_version", "bos_token_id",
                                               "eos_token_id", "pad_token_id"};
  std::vector<std::string> lost;
  for (const auto& [key, value] : generation.items()) {
    if (!value.is_null() && std::ranges::find(kKept, key) == std::end(kKept)) lost.push_back(key);
  }
  if (!lost.empty()) lines.push_back("generation_config.json has no place in a GGUF; left behind: " + joined(lost));
}

void add_model_type(const Json& config, Lines& lines) {
  if (text_in(config, "model_type") == "llama-rec")
    lines.push_back("a GGUF holds a llama-rec model as llama: what makes it a recommender is left behind");
}

void add_items(const Checkpoint& from, Lines& lines) {
  std::vector<std::string> left;
  for (const char* name : {"items.jsonl", "codes.json"}) {
    if (!from.side_file(name).empty()) left.emplace_back(name);
  }
  if (!left.empty()) lines.push_back("a recommender's items have no place in a GGUF; left behind: " + joined(left));
}

bool is_worth_telling(const std::string& name) {
  if (name == "config.json" || name == "params.json" || name.ends_with(".index.json") || name.starts_with(".") ||
      is_carried_file(name))
    return false;
  static constexpr std::string_view kEndings[] = {".json", ".jinja", ".py", ".model", ".tiktoken", ".txt"};
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return name.ends_with(ending); });
}

void add_files(const Checkpoint& from, Lines& lines) {
  if (!is_folder(from.path())) return;
  std::vector<std::string> left;
  const auto names = list_folder(from.path());
  for (const std::string& name : names.value_or(Lines{})) {
    if (is_worth_telling(name)) left.push_back(name);
  }
  if (!left.empty()) lines.push_back("not carried over: " + joined(left));
}

void add_objects(const Checkpoint& from, Lines& lines) {
  const auto* torch = dynamic_cast<const TorchCheckpoint*>(&from);
  if (torch == nullptr || torch->foreign_globals().empty()) return;
  lines.push_back("objects that are no tensors are left behind: " + joined(torch->foreign_globals()));
}

template <class Bits>
size_t count_bits(std::span<const std::byte> bytes, Bits infinity) {
  constexpr Bits kMagnitude = static_cast<Bits>(~Bits{0}) >> 1;
  size_t n = 0;
  for (size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i, sizeof bits);
    n += (bits & kMagnitude) == infinity;
  }
  return n;
}

}  // namespace

std::vector<std::string> conversion_losses(const Checkpoint& from, std::string_view format) {
  Lines lines;
  if (format == "gguf" && from.format() != "gguf") {
    add_yarn(from.config(), lines);
    add_window(from.config(), lines);
    add_generation(from, lines);
    add_model_type(from.config(), lines);
    add_items(from, lines);
  }
  add_objects(from, lines);
  add_files(from, lines);
  return lines;
}

size_t count_infinite(DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case DType::f64:
      return count_bits<uint64_t>(bytes, 0x7ff0'0000'0000'0000);
    case DType::f32:
      return count_bits<uint32_t>(bytes, 0x7f80'0000);
    case DType::f16:
      return count_bits<uint16_t>(bytes, 0x7c00);
    case DType::bf16:
      return count_bits<uint16_t>(bytes, 0x7f80);
    case DType::f8_e5m2:
      return count_bits<uint8_t>(bytes, 0x7c);
    default:
      return 0;
  }
}

}  // namespace caravan::formats
