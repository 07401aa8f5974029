// `caravan info`: what this program and this machine are: versions, devices, instruction sets, threads, formats.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "caravan/cli/command.h"
#include "caravan/cli/output.h"
#include "caravan/formats/format.h"
#include "caravan/formats/writer.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/cuda.h"

namespace caravan::cli {
namespace {

std::string cpu_name() {
  std::ifstream lines("/proc/cpuinfo");
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.find(": ") + 2, line.size()));
  }
  return "unknown";
}

// Extensions that the CPU and the operating system both allow and that the kernels of this program or libtorch can use.
Json cpu_extensions() {
  Json names = Json::array();
#if defined(__x86_64__)
  __builtin_cpu_init();
#define CARAVAN_HAS(extension) \
  if (__builtin_cpu_supports(extension)) names.push_back(extension)
  CARAVAN_HAS("avx");
  CARAVAN_HAS("avx2");
  CARAVAN_HAS("fma");
  CARAVAN_HAS("avx512f");
  CARAVAN_HAS("avx512bw");
  CARAVAN_HAS("avx512vnni");
  CARAVAN_HAS("avx512bf16");
#undef CARAVAN_HAS
#endif
  return names;
}

uint64_t physical_memory() {
  std::ifstream lines("/proc/meminfo");
  std::string key, unit;
  uint64_t kilobytes = 0;
  lines >> key >> kilobytes >> unit;
  return key == "MemTotal:" ? kilobytes * 1024 : 0;
}

Json devices() {
  Json list = Json::array({"cpu"});
  ops::load_cuda();
  if (torch::cuda::is_available()) {
    for (int i = 0; i < static_cast<int>(torch::cuda::device_count()); ++i) list.push_back(fmt::format("cuda:{}", i));
  }
  return list;
}

Json collect(const Settings& settings) {
  Json info;
  info["version"] = CARAVAN_VERSION;
  info["libtorch"] = TORCH_VERSION;
  info["cpu"] = cpu_name();
  info["instruction_set"] = kernels::table().isa;  // of our kernels; CARAVAN_ISA forces one
  info["libtorch_instruction_set"] = at::get_cpu_capability();
  info["cpu_extensions"] = cpu_extensions();
  info["cores"] = std::thread::hardware_concurrency();
  info["threads"] = settings.threads > 0 ? settings.threads : at::get_num_threads();
  info["memory_bytes"] = physical_memory();
  info["devices"] = devices();
  info["formats_read"] = formats::reader_formats();
  info["formats_written"] = formats::writer_formats();
  return info;
}

std::string joined(const Json& list) {
  std::string text;
  for (const Json& item : list) text += (text.empty() ? "" : ", ") + item.get<std::string>();
  return text;
}

void print_text(const Json& info) {
  const auto row = [](std::string_view name, const std::string& value) {
    print(fmt::format("{:<17}{}\n", name, value));
  };
  row("caravan", info["version"].get<std::string>());
  row("libtorch", info["libtorch"].get<std::string>());
  row("cpu", fmt::format("{} ({} cores)", info["cpu"].get<std::string>(), info["cores"].get<int>()));
  row("instruction set",
      fmt::format("{} (of: {})", info["instruction_set"].get<std::string>(), joined(info["cpu_extensions"])));
  row("threads", std::to_string(info["threads"].get<int>()));
  row("memory", human_bytes(info["memory_bytes"].get<uint64_t>()));
  row("devices", joined(info["devices"]));
  row("reads", joined(info["formats_read"]));
  row("writes", joined(info["formats_written"]));
}

}  // namespace

Run setup_info(CLI::App& app, const Settings& settings) {
  auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "print one JSON object");
  app.footer("Example:\n  caravan info --json");
  return [json, &settings] {
    const Json info = collect(settings);
    *json ? print_json(info, 2) : print_text(info);
  };
}

}  // namespace caravan::cli
