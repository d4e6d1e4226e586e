# What a user types: `make paper` and `make test`.  Everything lives in .venv; what a run writes lies under var/.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# onnxruntime and onnxruntime-gpu exclude each other: take the one that fits the machine.
SERVE := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
DEPS := pyproject.toml
ARGS ?=
# Two workers, because the suite starts real daemons: more would measure the scheduler.
TEST_WORKERS ?= 2

.PHONY: help setup paper test check bench simulate replay coverage demo-bundles calendars kill-matrix clean

help:
	@echo "make paper [ARGS=...]   trade on paper against the built-in exchange"
	@echo "make test               the whole test suite"
	@echo "make check              format, lint, types, import contracts"
	@echo "make bench [ARGS=...]   the benchmarks on this machine"
	@echo "make kill-matrix        kill daemons at 500 points, restart and compare (a quarter of an hour)"
	@echo "make simulate [ARGS=..] the whole daemon under simulated time, network and faults"
	@echo "make setup              the environment for development (no torch)"
	@echo "make coverage           the suite with line and branch coverage"
	@echo "make calendars          compile the trading calendars again (after a new version of exchange_calendars)"
	@echo "make demo-bundles       train the two demo bundles again (needs ../shared/data)"

# The light base: what trades.  No torch, no pandas.
$(VENV)/.base-$(SERVE): $(DEPS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Kestrel needs Python 3.11 or newer; found $$($(PYTHON) --version); set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing the base into $(VENV) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e '.[$(SERVE)]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base-$(SERVE)
	@echo "installing the development tools into $(VENV) (once)"
	@$(PIP) -e '.[$(SERVE),dev]'
	@touch $@

# torch comes in exactly the pinned version and only here.
$(VENV)/.train: $(VENV)/.dev
	@echo "installing the trainer into $(VENV) (once)"
	@$(PIP) -e '.[$(SERVE),dev,train]'
	@touch $@

setup: $(VENV)/.dev

paper: $(VENV)/.base-$(SERVE)
	@$(BIN)/python run.py paper $(ARGS)

test: $(VENV)/.train
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) $(ARGS)

coverage: $(VENV)/.train
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --cov --cov-report=term $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.base-$(SERVE)
	@$(BIN)/python run.py bench $(ARGS)

# Writes its page only when it is asked to: ARGS="--write docs/results/kill-matrix.md".
kill-matrix: $(VENV)/.dev
	@$(BIN)/python -m tests.support.kills $(ARGS)

simulate: $(VENV)/.base-$(SERVE)
	@$(BIN)/python run.py simulate $(ARGS)

demo-bundles: $(VENV)/.train
	@$(BIN)/python run.py train --config config/train/demo-crypto.yaml
	@$(BIN)/python run.py train --config config/train/demo-fx.yaml

calendars: $(VENV)/.dev
	@$(BIN)/python docs/make_calendars.py

clean:
	@rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
