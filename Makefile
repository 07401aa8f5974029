# The two commands of a clean clone:
#   make demo      set up, build, fetch a 135M-parameter model once, answer a prompt (PROMPT="..."); then train a
#                  recommender on MovieLens-100K and ask it (demo-chat and demo-recommend do one half each)
#   make test      set up, build, run every test
# and: setup, build, chat, test-asan, test-tsan, install (PREFIX=...), format, tidy, clean. PRESET=debug builds another
# preset than release, JOBS=n limits the parallel compilers. docs/build.md says more.
PRESET ?= release
PREFIX ?= /usr/local
PROMPT ?= What is a caravan? Answer in two sentences.
export PROMPT
JOBS ?= $(shell nproc)

CMAKE_ARGUMENTS ?= $(if $(CARAVAN_PYTHON),-DCARAVAN_PYTHON=$(CARAVAN_PYTHON))
configure = cmake --preset $(1) $(CMAKE_ARGUMENTS)
compile = cmake --build --preset $(1) --parallel $(JOBS)

.PHONY: all setup build model demo demo-chat demo-recommend chat test test-asan test-tsan install format tidy clean
all: build

setup:
	@scripts/setup.sh

build: setup
	@echo "== build: configuring build/$(PRESET)" >&2
	@$(call configure,$(PRESET))
	@echo "== build: compiling (a first build takes some minutes)" >&2
	@$(call compile,$(PRESET))

model: setup
	@scripts/fetch_model.sh

demo: demo-chat demo-recommend

demo-chat: setup
	@$(call configure,$(PRESET))
	@echo "== build: compiling the program (a first build takes some minutes)" >&2
	@$(call compile,$(PRESET)) --target caravan_program
	@model=$$(scripts/fetch_model.sh) && echo "== caravan chat: $$PROMPT" >&2 && \
	  build/$(PRESET)/bin/caravan chat -m "$$model" --prompt "$$PROMPT"

demo-recommend: setup
	@$(call configure,$(PRESET))
	@$(call compile,$(PRESET)) --target caravan_program
	@scripts/demo_recommend.sh build/$(PRESET)/bin/caravan

chat: setup
	@$(call configure,$(PRESET))
	@$(call compile,$(PRESET)) --target caravan_program
	@model=$$(scripts/fetch_model.sh) && build/$(PRESET)/bin/caravan chat -m "$$model"

test: build
	@echo "== test" >&2
	@scripts/run_tests.sh $(PRESET)

# Only the folders without libtorch by default: they parse what others wrote. SUITE=all takes every folder.
SUITE ?= torch-free
test-asan test-tsan: test-%: setup
	@$(call configure,$*)
	@$(call compile,$*) $(if $(filter all,$(SUITE)),,--target torch_free_tests)
	@scripts/run_tests.sh $* $(if $(filter all,$(SUITE)),,-L torch-free)

# The library and the program only; the tests are not built for it.
install: setup
	@$(call configure,$(PRESET))
	@$(call compile,$(PRESET)) --target caravan caravan_program
	cmake --install build/$(PRESET) --prefix $(PREFIX)

format:
	git ls-files 'caravan/*.h' 'caravan/*.cc' 'examples/*.h' 'examples/*.cc' 'tests/*.h' 'tests/*.cc' | xargs clang-format -i

tidy:
	@$(call configure,$(PRESET))
	scripts/tidy.sh build/$(PRESET)

clean:
	rm -rf build
