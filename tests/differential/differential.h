// The Caravan side of scripts/differential_*.py: one function a subject. Each takes the path that the script names and
// returns the program's exit status, 0 unless something differs without an explanation.
#pragma once

#include <string>

namespace caravan::differential {

int compare_safetensors(const std::string& records);  // judged files, one behind the other
int judge_gguf(const std::string& folder);            // verdicts on every .gguf go to verdicts.txt
int compare_torch(const std::string& folder);         // N.bin, and N.txt where torch read it
int encode_vocabulary(const std::string& cases);      // JSON; results to that name + ".out"
int render_templates(const std::string& cases);       // JSON lines; results to that name + ".out"
int train_tokenizer(const std::string& config);       // JSON
int fuzz_readers(const std::string& folder);          // mutated seeds through every reader

}  // namespace caravan::differential
