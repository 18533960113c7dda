# Every target installs what it needs into .venv, again after a change of pyproject.toml or constraints.txt.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
MUTATION_READY := $(VENV)/.mutation-ready
NAME ?= all
GPU_PYTHON ?= python3
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell $(name) -c '$(IN_RANGE)' 2>/dev/null && echo $(name))))

.PHONY: help train test soak soak-hour soak-nodes mutation lint format bench gpu-check gpu-rehearsal clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

train: $(READY) ## train an agent: make train ARGS="--game CartPole-v1 --seed 1"
	@$(BIN)/python train.py $(ARGS)

test: lint ## lint, types, layers, then all tests, or some: make test ARGS="tests/search"
	$(BIN)/python -m pytest -n 2 $(ARGS)

soak-hour: $(READY) ## an hour of Pong in which a process is killed every 30 s: make soak-hour ARGS="--every-s 10"
	@$(BIN)/python -m tests.faults.hour $(ARGS)

soak: $(READY) ## all reliability tests at full counts, about an hour; some rows: make soak ROWS="1 2 20"
	@$(BIN)/python -m tests.faults.soak $(ROWS)

soak-nodes: $(READY) ## deaths, cuts and interrupts on two hosts of namespaces, as root; how often each: make soak-nodes TIMES=5
	SOAK_NODES=$(or $(TIMES),1) $(BIN)/python -m pytest -s tests/nodes/test_hosts.py

mutation: $(MUTATION_READY) ## put small faults into a copy and count those that the tests notice: make mutation ARGS="--sample 50 --areas shm"
	@$(BIN)/python -m tests.mutation $(ARGS)

lint: $(READY) ## style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY) ## reformat the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH_READY) ## the benchmarks of minutes, or one: make bench NAME=tree; then docs/results/performance.md
	@$(BIN)/python -m benchmarks.bench_$(NAME) $(ARGS)
	@$(BIN)/python -m benchmarks.results_page

# Without .venv: measures whatever torch $(GPU_PYTHON) has.
gpu-check: ## correctness, speed and a short run of Pong on a GPU, nine minutes: make gpu-check ARGS="--record"
	@$(GPU_PYTHON) benchmarks/gpu_suite.py --budget-s 540 --out build/gpu-check $(ARGS)

gpu-rehearsal: $(READY) ## test gpu-check itself on the CPU, with tiny sizes
	@$(BIN)/python benchmarks/gpu_suite.py --cpu-rehearsal --budget-s 540 --out build/gpu-rehearsal $(ARGS)

clean: ## remove .venv and caches, not runs/
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	$(call install,dev)

$(BENCH_READY): $(READY)
	$(call install,dev$(comma)bench)

$(MUTATION_READY): $(READY)
	$(call install,dev$(comma)mutation)

# A package without a wheel for this Python is built from source, which needs a compiler and Python's headers.
define SOURCES
import sys
v = "%d.%d" % sys.version_info[:2]
print(f"make: if a package failed to build (posix-ipc has no wheel for Python 3.14 yet): apt-get install gcc python{v}-dev,")
print(f"make: or another Python: rm -r $(VENV); make PYTHON=python3.12")
endef
export SOURCES

comma := ,
define install
	@test -n "$(PYTHON)" || { echo "make: Python 3.11, 3.12, 3.13 or 3.14 is needed and was not found; name one with PYTHON=" >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), once; this takes a few minutes."
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(1)]' || { $(BIN)/python -c "$$SOURCES" >&2; exit 1; }
	@touch $@
endef
