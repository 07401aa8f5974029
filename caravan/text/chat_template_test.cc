// Chat templates against goldens that Jinja made in transformers' environment, and against hostile templates.
// scripts/differential_templates.py compares whole folders of templates.
#include "caravan/text/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::text {
namespace {

constexpr std::time_t kNow = 1753700000;  // 2025-07-28, as the golden scripts fix it

Json render_case(const std::string& source, const Json& variables) {
  try {
    ChatTemplate chat(source, "case.jinja");
    chat.set_now(kNow);
    return {{"text", chat.render(variables)}};
  } catch (const Error& e) {
    return {{"error", e.what()}, {"fault", to_string(e.fault())}};
  }
}

TEST(ChatTemplate, RendersGoldensAsJinjaDoes) {
  setenv("TZ", "UTC", 1);
  const std::string folder = CARAVAN_SOURCE_DIR "/tests/golden/chat_templates";
  size_t cases = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const std::string path = file.path().string();
    const Json golden = parse_json(read_file(path), path);
    for (const Json& c : golden.at("cases")) {
      ++cases;
      const Json& variables = c.at("variables").is_string()
                                  ? golden.at("variables").at(c.at("variables").get<std::string>())
                                  : c.at("variables");
      const Json got = render_case(c.at("template").get<std::string>(), variables);
      SCOPED_TRACE(path + ": " + c.at("template").get<std::string>());
      if (c.contains("text")) {
        EXPECT_EQ(got.value("text", "error " + got.dump()), c.at("text").get<std::string>());
      } else {
        EXPECT_TRUE(got.contains("error")) << "expected " << c.at("error") << ", rendered " << got.dump();
        if (c.contains("raised")) {
          EXPECT_EQ(got.at("error"), c.at("raised"));
        }
      }
    }
  }
  EXPECT_GT(cases, 300u);
}

struct Hostile {
  const char* id;
  std::string source;
  FileFault fault;
};

std::string repeat(std::string_view s, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += s;
  return out;
}

std::vector<Hostile> endless_templates() {
  return {
      {"J01", "{{ " + repeat("(", 300) + "1" + repeat(")", 300) + " }}", FileFault::limit},
      {"J01 lists", "{{ " + repeat("[", 5000) + "1" + repeat("]", 5000) + " }}", FileFault::limit},
      {"J01 signs", "{{ " + repeat("-", 9000) + "1 }}", FileFault::limit},
      {"J01 nots", "{{ " + repeat("not ", 9000) + "1 }}", FileFault::limit},
      {"J01 ifs", repeat("{% if 1 %}", 9000), FileFault::limit},
      {"J01 filters", "{{ 1" + repeat("|string", 9000) + " }}", FileFault::limit},
      {"J01 dots", "{{ a" + repeat(".b", 9000) + " }}", FileFault::limit},
      {"J02", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", FileFault::limit},
      {"J03", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
       FileFault::limit},
      {"J04", "{% for i in range(1000000000) %}x{% endfor %}", FileFault::fuel},
      {"J05", "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}", FileFault::fuel},
      {"J05 deep", "{% for i in range(100000) %}{% for j in range(100000) %}{{ j }}{% endfor %}{% endfor %}",
       FileFault::fuel},
      {"J06", "{{ 'a' * 2147483648 }}", FileFault::fuel},
      {"J06 list", "{{ [1] * 2147483648 }}", FileFault::fuel},
      {"J06 center", "{{ 'a'|center(2147483648) }}", FileFault::fuel},
      {"J06 format", "{{ '%2147483648d' % 1 }}{{ '{:>2147483648}'.format(1) }}", FileFault::fuel},
      {"J06 indent", "{{ 'a'|indent(2147483648, true) }}", FileFault::fuel},
      {"J07",
       "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s]|join(ns.s) %}{% endfor %}",
       FileFault::fuel},
      {"J07 list", "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
       FileFault::fuel},
      {"J07 replace",
       "{% set ns = namespace(s='aa') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('a', ns.s) %}{% endfor %}",
       FileFault::fuel},
      {"J07 memory",
       "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = ns.l + ['a' * 1000000 ~ i] %}{% endfor "
       "%}",
       FileFault::fuel},
      {"J07 tojson",
       "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson "
       "}}",
       FileFault::fuel},
      {"J07 repr",
       "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
       FileFault::fuel},
      {"J07 equal",
       "{% set a = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set a.l = [a.l, a.l] %}{% set a.m = [a.m, a.m] "
       "%}"
       "{% endfor %}{{ a.l == a.m }}",
       FileFault::fuel},
  };
}

std::vector<Hostile> forbidden_templates() {
  return {
      {"J08", "a\nb{% if x %}", FileFault::syntax},
      {"J09", "{{ ''.__class__ }}", FileFault::unsupported},
      {"J09 item", "{{ ''['__class__'] }}", FileFault::unsupported},
      {"J09 attr", "{{ ''|attr('__class__') }}", FileFault::unsupported},
      {"J09 map", "{{ ['']|map(attribute='__class__')|list }}", FileFault::unsupported},
      {"J09 format", "{{ '{0.__class__}'.format('') }}", FileFault::unsupported},
      {"J09 mutation", "{{ messages.append(1) }}", FileFault::unsupported},
      {"J10", "{% include 'a' %}", FileFault::unsupported},
      {"J10 import", "{% import 'a' as b %}", FileFault::unsupported},
      {"J10 from", "{% from 'a' import b %}", FileFault::unsupported},
      {"J10 extends", "{% extends 'a' %}", FileFault::unsupported},
      {"J10 unknown", "{% do x %}", FileFault::unsupported},
      {"J11", "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", FileFault::limit},
      {"J12 depth", "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}",
       FileFault::limit},
      {"J12 generators",
       "{% set ns = namespace(l=[1]) %}{% for i in range(1000) %}{% set ns.l = ns.l|map('string') %}{% endfor %}",
       FileFault::limit},
      {"J13", repeat("{#", 32768), FileFault::syntax},
      {"J13 raw", "{% raw %}" + repeat("{%      ", 16384), FileFault::syntax},
      {"J14", std::string(10 << 20, 'x'), FileFault::limit},
  };
}

TEST(ChatTemplate, EndsEveryHostileTemplateInItsError) {
  std::vector<Hostile> all = endless_templates();
  for (Hostile& h : forbidden_templates()) all.push_back(std::move(h));
  for (const Hostile& h : all) {
    const auto start = std::chrono::steady_clock::now();
    const Json got = render_case(h.source, {{"messages", {{{"role", "user"}, {"content", "hi"}}}}});
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
    ASSERT_TRUE(got.contains("error")) << h.id << " rendered";
    EXPECT_EQ(got.at("fault"), to_string(h.fault)) << h.id << ": " << got.at("error");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LT(ms, 750) << h.id;  // 250 ms is the aim, on a machine that does nothing else
#endif
    if (std::getenv("CARAVAN_VERBOSE"))
      std::printf("%s: %lld ms, %s\n", h.id, static_cast<long long>(ms), got.at("error").get<std::string>().c_str());
  }
}

TEST(ChatTemplate, FreesNamespacesThatHoldThemselves) {  // the leak checker of the sanitizer build is the judge
  EXPECT_EQ(
      render_case("{% set a = namespace() %}{% set a.self = a %}{% set a.list = [a] %}x", Json::object()).at("text"),
      "x");
  EXPECT_EQ(render_case("{% for i in [1] %}{{ loop.changed(loop) }}{% endfor %}", Json::object()).at("text"), "True");
}

TEST(ChatTemplate, ReportsTheLineOfAnError) {
  const Json got = render_case("a\n{{ 1 +\n }}", Json::object());
  EXPECT_NE(got.at("error").get<std::string>().find("line 3"), std::string::npos) << got;
  const Json late = render_case("a\n\n{{ x.y }}", Json::object());
  EXPECT_NE(late.at("error").get<std::string>().find("line 3: 'x' is undefined"), std::string::npos) << late;
}

TEST(ChatTemplate, PassesMessagesOfRaiseExceptionThrough) {
  EXPECT_EQ(render_case("{{ raise_exception('only user') }}", Json::object()).at("error"), "only user");
}

TEST(ChatTemplate, PreparesMessagesAsTransformersDoes) {
  const std::string source = "{{ messages }}|{{ tools }}|{{ documents }}|{{ add_generation_prompt }}";
  const Json messages = {{{"role", "user"}, {"content", nullptr}, {"reasoning", "why"}}};
  EXPECT_EQ(render_case(source, {{"messages", messages}}).at("text"),
            "[{'thinking': 'why', 'role': 'user', 'reasoning': 'why', 'reasoning_content': 'why'}]|None|None|False");
  EXPECT_TRUE(render_case(source, {{"messages", Json::array()}}).contains("error"));
}

TEST(ChatTemplate, ContinuesTheFinalMessageAsTransformersDoes) {
  const Json messages = {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "Sure, "}}};
  const auto render = [&](const std::string& content, const Json& more = Json::object()) {
    Json variables = {{"messages", messages}, {"continue_final_message", true}};
    variables.update(more);
    return render_case("{% for m in messages %}<{{ m.role }}>" + content + "</s>\n{% endfor %}END", variables);
  };
  EXPECT_EQ(render("{{ m.content }}").value("text", ""), "<user>hi</s>\n<assistant>Sure, ");
  EXPECT_EQ(render("{{ m.content | trim }}").value("text", ""), "<user>hi</s>\n<assistant>Sure,");
  EXPECT_EQ(render("{{ m.content }}", {{"continue_final_message", false}}).value("text", ""),
            "<user>hi</s>\n<assistant>Sure, </s>\nEND");
  EXPECT_TRUE(render("nothing").contains("error"));
  EXPECT_TRUE(render("{{ m.content }}", {{"add_generation_prompt", true}}).contains("error"));
  EXPECT_TRUE(render("{{ m.content }}", {{"continue_final_message", "reasoning_content"}}).contains("error"));
  const Json parts = {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", "a b"}}, {{"type", "image"}}}}}};
  EXPECT_EQ(render("{% for c in m.content %}{{ c.text }}{% endfor %}", {{"messages", parts}}).value("text", ""),
            "<user>a b");
}

TEST(ChatTemplate, RendersFromSeveralThreads) {
  const ChatTemplate chat("{% for m in messages %}{{ m.role ~ ': ' ~ m.content }}\n{% endfor %}{{ 'literal' * 3 }}",
                          "case.jinja");
  const Json variables = {
      {"messages", {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "yes"}}}}};
  const std::string expected = chat.render(variables);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) wrong += chat.render(variables) != expected;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace caravan::text
