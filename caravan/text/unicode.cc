// UTF-8 and character classes; see unicode.h. Validation by simdjson.
#include "caravan/text/unicode.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <vector>

#include "caravan/text/unicode_tables.h"

namespace caravan::text {
namespace {

// Distinct blocks of 256 code points are kept once: some 200 of 4352, so that lookups stay in the cache.
const PropertyTable& build_properties() {
  static PropertyTable table;
  std::map<std::vector<uint16_t>, uint16_t> seen;
  std::vector<uint16_t> block;
  size_t code = 0;
  for (size_t run = 0; run < kPropertyRunsSize; run += 2) {
    for (uint32_t i = 0; i < kPropertyRuns[run]; ++i, ++code) {
      block.push_back(static_cast<uint16_t>(kPropertyRuns[run + 1]));
      if (block.size() < 256) continue;
      auto [at, added] = seen.try_emplace(block, static_cast<uint16_t>(table.blocks));
      if (added) std::copy(block.begin(), block.end(), table.value + (table.blocks++ << 8));
      table.block[code >> 8] = at->second;
      block.clear();
    }
  }
  return table;
}

struct ScriptRun {
  uint32_t first, script;
};

std::vector<ScriptRun> build_scripts() {
  std::vector<ScriptRun> runs;
  uint32_t code = 0;
  for (size_t run = 0; run < kScriptRunsSize; run += 2) {
    runs.push_back({code, kScriptRuns[run + 1]});
    code += kScriptRuns[run];
  }
  return runs;
}

// Length of the valid character at `at`, or 0; `broken` is then the length of the maximal broken sequence.
size_t character_length(std::string_view text, size_t at, size_t& broken) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<int>(static_cast<unsigned char>(text[i])) : 0; };
  const int lead = byte(at);
  broken = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const int low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const int high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(at + 1) < low || byte(at + 1) > high) return 0;
  const size_t length = utf8_length(static_cast<unsigned char>(lead));
  for (broken = 2; broken < length; ++broken)
    if ((byte(at + broken) & 0xC0) != 0x80) return 0;
  return length;
}

}  // namespace

const PropertyTable& kProperties = build_properties();

uint32_t script_class(char32_t c) {
  static const std::vector<ScriptRun> runs = build_scripts();
  auto after =
      std::upper_bound(runs.begin(), runs.end(), c, [](char32_t x, const ScriptRun& r) { return x < r.first; });
  return std::prev(after)->script;
}

char32_t lowercase(char32_t c, char32_t& second) {
  second = 0;
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  if (c == 0x130) {
    second = 0x307;
    return 'i';
  }
  const size_t n = kLowercaseRunsSize / 4;
  size_t low = 0, high = n;  // the first run that starts behind c
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (static_cast<char32_t>(kLowercaseRuns[4 * middle]) <= c)
      low = middle + 1;
    else
      high = middle;
  }
  // Runs with step 2 interleave with others: look at the last few that start before c.
  for (size_t back = 0; back < 3 && low > back; ++back) {
    const int32_t* run = kLowercaseRuns + 4 * (low - 1 - back);
    const int32_t distance = static_cast<int32_t>(c) - run[0];
    if (distance % run[2] == 0 && distance / run[2] < run[1]) return c + static_cast<char32_t>(run[3]);
  }
  return c;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    }
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
  }
  out += static_cast<char>(0x80 | (c & 0x3F));
}

std::string to_utf8(char32_t c) {
  std::string out;
  append_utf8(out, c);
  return out;
}

size_t count_characters(std::string_view text) {
  size_t n = 0;
  for (char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

bool is_ascii(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t eight;
    std::memcpy(&eight, text.data() + i, 8);
    if (eight & 0x8080808080808080u) return false;
  }
  for (; i < text.size(); ++i)
    if (static_cast<unsigned char>(text[i]) >= 0x80) return false;
  return true;
}

bool is_valid_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    size_t broken;
    const size_t length = character_length(text, at, broken);
    if (length > 0) {
      out.append(text.substr(at, length));
      at += length;
    } else {
      out += "\xEF\xBF\xBD";
      at += broken;
    }
  }
  return out;
}

size_t unfinished_utf8(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const unsigned char c = static_cast<unsigned char>(text[text.size() - back]);
    if ((c & 0xC0) == 0x80) continue;
    if (c < 0xC2 || utf8_length(c) <= back) return 0;
    size_t broken;
    character_length(text, text.size() - back, broken);
    return broken == back ? back : 0;  // broken further left: not the beginning of a character
  }
  return 0;
}

}  // namespace caravan::text
