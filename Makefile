# Everything starts from Python 3.11+ and make: each target makes the environment that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUEUES ?= $(shell nproc)
LIGHT := .venv-light
MINUTES ?= 10
SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo results test test-fast test-zoo rtl-test stress fuzz models test-light test-wheel coverage mutate check static format lint types words prose docs reference bench lock audit clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /: /' | column -t -s: -l 2

demo: $(VENV)/ready ## install, then run the whole chain on the embedded example, and write its report page
	@$(BIN)/tightc run

results: $(VENV)/ready-scripts ## train what is next of the experiments, and write docs/results; takes days, and goes on where it was
	@$(BIN)/python scripts/experiments.py --queues $(QUEUES) --verbose

test: $(VENV)/ready ## install, then run the tests, kernels with and without JIT
	$(BIN)/pytest -n auto
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -m kernel

test-fast: $(VENV)/ready ## the quick tests alone, under a minute on two cores
	$(BIN)/pytest -n auto -m "not slow"

test-zoo: $(VENV)/ready-zoo ## networks of all families at every opset and by every exporter, and 2000 new drawn graphs; takes minutes
	$(BIN)/pytest -n auto -m zoo tests/zoo
	TIGHTC_GRAPHS=2000 $(BIN)/pytest -n auto tests/generated

rtl-test: $(VENV)/ready ## ResNet-20 on a 32x32 array, as RTL in Verilator; takes minutes
	$(BIN)/pytest -m rtl tests/rtl

stress: $(VENV)/ready ## end commands by signals at random moments, for MINUTES=10 with SEED=0, and look for what was lost
	$(BIN)/python scripts/stress.py --minutes $(MINUTES) --seed $(SEED)

fuzz: $(VENV)/ready-fuzz ## changed inputs for every reader, guided by coverage, for 10 minutes; findings are kept in build/fuzz
	$(BIN)/python scripts/fuzz.py --seconds 600

models: $(VENV)/ready ## write docs/models.md from small networks of all families
	$(BIN)/python scripts/make_models_page.py

check: static test test-light test-wheel ## everything: static checks, tests, and the wheel without torch

static: format lint types words prose docs ## format, lint, types, words, prose, and the site

format: $(VENV)/ready
	$(BIN)/ruff format --check src tests scripts

lint: $(VENV)/ready
	$(BIN)/ruff check src tests scripts

types: $(VENV)/ready
	$(BIN)/mypy

words: $(VENV)/ready
	$(BIN)/python scripts/check_words.py

prose: $(VENV)/ready
	$(BIN)/python scripts/check_prose.py

docs: $(VENV)/ready-docs ## build the site of docs in build/site; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site

$(VENV)/ready-docs: $(VENV)/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

test-light: $(LIGHT)/ready ## everything but finetune, in an environment without torch and without development tools
	$(LIGHT)/bin/python scripts/check_light.py $(LIGHT)/bin/tightc

test-wheel: ## the same on Python 3.12 and 3.13, where they are found
	@for version in 3.12 3.13; do found=; \
	  for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
	    $$python -c '' 2>/dev/null && { found=$$python; break; }; done; \
	  if [ -n "$$found" ]; then $(MAKE) test-light PYTHON=$$found LIGHT=$(LIGHT)-$$version || exit 1; \
	  else echo "skipped: Python $$version is not installed here"; fi; done

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tightc needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dask,finetune,report,browser,dev]'
	@touch $@

$(LIGHT)/ready: pyproject.toml constraints.txt $(shell find src -name '*.py' -o -name '*.yaml')
	rm -rf build/lib build/bdist.*
	$(PYTHON) -m venv --clear $(LIGHT)
	$(LIGHT)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt .
	@touch $@

coverage: $(VENV)/ready ## the branches that the tests run, at least 95 %; takes three times as long as make test
	$(BIN)/python scripts/coverage_report.py

mutate: $(VENV)/ready ## small faults in the kernels, and the tests that notice them: docs/reliability-mutants.md; at most 90 minutes
	$(BIN)/python scripts/mutation.py

lock: ## write requirements.lock, the hashes of all that constraints.txt pins, but for torch
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check uv
	$(VENV)-lock/bin/python scripts/make_lock.py $(VENV)-lock/bin/uv

audit: ## look for known faults of the packages in requirements.lock; says so if their list cannot be reached
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/python scripts/audit.py $(VENV)-audit/bin/pip-audit

reference: $(VENV)/ready ## write docs/cli.md from the help texts
	$(BIN)/python scripts/make_reference.py

bench: $(VENV)/ready-scripts ## measure all, or SECTION="...", and write docs/benchmarks; all takes hours
	$(BIN)/python scripts/bench.py $(SECTION)

$(VENV)/ready-scripts: $(VENV)/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[scripts]'
	@touch $@

$(VENV)/ready-zoo: $(VENV)/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[zoo]'
	@touch $@

$(VENV)/ready-fuzz: $(VENV)/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@touch $@

clean: ## remove the environments and caches
	rm -rf $(VENV) $(LIGHT)* build *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests scripts -name __pycache__ -prune -exec rm -rf {} +
