# `make demo` trains an agent, `make test` runs the tests, `make cpp-test` those of the C++ core; each
# does all the set-up itself.
#
#   TORCH   which torch to install when the environment has none (a pip requirement)
#   VENV    the virtual environment, default .venv
#   PYTHON  the interpreter that makes it, default python3
#   RUN     the demo's run directory, default runs/demo
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
RUN ?= runs/demo

BIN := $(abspath $(VENV))/bin
SOURCES := $(shell find planet csrc bindings _build_backend -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: demo test cpp-test check gate system clean

demo: $(VENV)/.built
	$(BIN)/planet train --preset small --task cheetah-run --directory $(RUN)
	$(BIN)/planet evaluate $(RUN) --episodes 10 --baselines

# From the tests' folder, so that the installed package is tested and not the source tree; two
# workers of one thread each, which busy cores do not slow down more than their share.
test: $(VENV)/.tested
	cd tests && OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -rs --cov=planet --cov-config=../pyproject.toml $(PYTEST)

# Without Python and torch: here, under the sanitizers, under emulated processors.
cpp-test:
	.ci/system-packages $(PYTHON) cpp
	.ci/cpp

gate: $(VENV)/.built
	$(BIN)/python benchmarks/learning_gate.py

# What CI checks beside the tests: format, lints, types, ABI of the extension, the CUDA compile.
check: $(VENV)/.checked
	VENV=$(abspath $(VENV)) .ci/check

system:
	.ci/system-packages $(PYTHON)

$(VENV)/.torch:
	.ci/system-packages $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "== torch ($(TORCH)): a minute or more the first time"
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/pip install -q '$(TORCH)'
	touch $@

$(VENV)/.built: $(VENV)/.torch pyproject.toml CMakeLists.txt $(SOURCES)
	@echo "== planet: packages, then the compiled core"
	$(BIN)/pip install -q '.[train]'
	touch $@

$(VENV)/.tested: $(VENV)/.torch pyproject.toml CMakeLists.txt $(SOURCES)
	@echo "== planet: packages, then the compiled core"
	$(BIN)/pip install -q '.[train,test]'
	touch $@ $(VENV)/.built

$(VENV)/.checked: $(VENV)/.tested
	$(BIN)/pip install -q '.[train,dev]'
	touch $@

clean:
	rm -rf build
