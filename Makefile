# `make demo` trains an agent, `make test` runs the tests, `make cpp-test` those of the C++ core; each
# does all the set-up itself. Paths and settings go through the environment, where they may hold
# spaces; .ci/environment knows what has to be built again.
#
#   TORCH     which torch to install when the environment has none (a pip requirement)
#   VENV      the virtual environment, default .venv
#   PYTHON    the interpreter that makes it, default python3
#   RUN       the demo's run directory, default runs/demo
#   DEMO      further options of the demo's `planet train`, as --train.episodes 3
#   EPISODES  how many the demo is scored by, default 10
#   GATE      --rehearse for a minute's trial of the gate
#   PYTEST    further options of pytest, as -k planner
#   PLANET_CUDA=AUTO|ON|OFF   CUDA kernels; not set: OFF where no GPU is visible, else AUTO
SHELL := /bin/bash
export PYTHON ?= python3
export VENV ?= .venv
export TORCH ?= torch==2.13.0
export RUN ?= runs/demo
EPISODES ?= 10

.NOTPARALLEL: # all share one environment
.PHONY: demo test fuzz test-loaded cpp-test check gate durability first-steps system clean

# Not by the script `planet`: pip's do not run in a folder whose name holds a dollar.
demo:
	.ci/environment train . python -m planet train --preset small --task cheetah-run --directory "$$RUN" $(DEMO)
	.ci/environment train . python -m planet evaluate "$$RUN" --episodes $(EPISODES) --baselines

# From the tests' folder, so that the installed package is tested and not the source tree; two
# workers of one thread each, which busy cores do not slow down more than their share.
test:
	OMP_NUM_THREADS=1 .ci/environment train,test tests \
	  python -m pytest -n 2 -rs --cov=planet --cov-config=../pyproject.toml $(PYTEST)

# Random inputs from a seed of its own, many of each kind; its last lines say how to repeat them.
fuzz:
	OMP_NUM_THREADS=1 .ci/environment train,test tests \
	  python -m pytest -n 2 -m random --seed fresh --examples 1000 $(PYTEST)

# The tests beside eight processes that are always busy: nothing may depend on how fast they are.
test-loaded:
	OMP_NUM_THREADS=1 .ci/environment train,test tests \
	  python busy.py 8 python -m pytest -n 2 $(PYTEST)

# Without Python and torch: here, under the sanitizers, under emulated processors.
cpp-test:
	.ci/system-packages "$$PYTHON" cpp
	.ci/cpp

gate:
	.ci/environment train . python benchmarks/learning/gate.py $(GATE)

# A toy run is killed at every operation on files and damaged in every way: minutes.
durability:
	OMP_NUM_THREADS=1 .ci/environment train,test tests python -m durability

# What CI checks beside the tests: format, lints, types, ABI of the extension, the CUDA compile.
check:
	.ci/environment train,test,dev . .ci/check

# All of the above as newcomers meet it: other users, folders, interpreters, nvccs.
first-steps:
	.ci/system-packages "$$PYTHON"
	"$$PYTHON" .ci/first_steps.py $(STEPS)

system:
	.ci/system-packages "$$PYTHON"

clean:
	rm -rf build
