#include "caravan/cli/arguments.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

using Arguments = std::vector<std::string>;

// An app of a flag, an option of one value, a text, and a subcommand.
struct Program {
  Program() {
    app.add_flag("-q,--quiet", quiet);
    app.add_option("-m,--max-new-tokens", number);
    app.add_option("-p,--prompt", text);
    app.add_option("--file", file);
    app.require_subcommand(0);
    CLI::App* run = app.add_subcommand("run", "runs");
    run->fallthrough();
    run->add_option("-o,--output-file", output);
  }
  Arguments normal(Arguments arguments) {
    normalize_arguments(app, arguments);
    return arguments;
  }
  void parse(Arguments arguments) {
    refuse_empty_values(app);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  }
  bool quiet = false;
  std::string number, text, file, output;
  CLI::App app{"", "caravan test"};
};

TEST(Arguments, UnderscoresAndValuesTakeTheFormThatIsParsed) {
  Program program;
  EXPECT_EQ(program.normal({"--max_new_tokens", "3"}), (Arguments{"--max-new-tokens", "3"}));
  EXPECT_EQ(program.normal({"--max_new_tokens=3"}), Arguments{"--max-new-tokens=3"});
  EXPECT_EQ(program.normal({"-m=3"}), (Arguments{"-m", "3"}));
  EXPECT_EQ(program.normal({"--file=", "x"}), (Arguments{"--file", "", "x"}));
  EXPECT_EQ(program.normal({"-q=true", "--quiet=no"}), (Arguments{"--quiet=true", "--quiet=no"}));
  EXPECT_EQ(program.normal({"run", "--output_file", "x"}), (Arguments{"run", "--output-file", "x"}));
}

TEST(Arguments, WhatAnOptionTakesIsNoOption) {
  Program program;
  for (const Arguments& same :
       {Arguments{"-p", "--max_new_tokens"}, Arguments{"--prompt", "-q=maybe"}, Arguments{"--", "-m=3", "--file="},
        Arguments{"--unknown_option", "--unknown=1"}, Arguments{"--prompt=--max_new_tokens=3"}}) {
    EXPECT_EQ(program.normal(same), same);
  }
}

TEST(Arguments, AFlagIsTrueOrFalseAndTheErrorNamesIt) {
  for (const std::string flag : {"--quiet=maybe", "--quiet=2", "-q=", "--quiet=[]"}) {
    try {
      Program().normal({flag});
      ADD_FAILURE() << flag;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(flag.substr(0, flag.find('=')) + ": expected true or false"),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(Arguments, EmptyValuesAreRefusedWhereNoTextIsMeant) {
  EXPECT_THROW(Program().parse({"--file", ""}), CLI::ParseError);
  EXPECT_THROW(Program().parse({"run", "-o", ""}), CLI::ParseError);
  EXPECT_NO_THROW(Program().parse({"--prompt", "", "--file", "x"}));
}

TEST(Arguments, NamesAreWhole) {
  const Program program;
  EXPECT_EQ(full_name(program.app), "caravan test");
  EXPECT_EQ(full_name(*program.app.get_subcommands({}).front()), "caravan test run");
}

}  // namespace
}  // namespace caravan::cli
