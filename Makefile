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
# For two cores: a third of what the tests do is waiting for each other's sockets.  The suite starts real daemons: more
# workers than that would measure the scheduler.
TEST_WORKERS ?= 3
SIMULATED_HOURS ?= 10000
FUZZ_ROUNDS ?= 5

.PHONY: help setup clients ray river paper test fuzz check bench simulate soak soak-ccxt model-trials replay coverage demo-bundles results calendars kill-matrix clean

help:
	@echo "make paper [ARGS=...]   trade on paper against the built-in exchange"
	@echo "make test               the whole test suite"
	@echo "make fuzz               the property tests, each time with other examples"
	@echo "make check              format, lint, types, import contracts"
	@echo "make bench [ARGS=...]   the benchmarks on this machine"
	@echo "make kill-matrix        kill daemons at 500 points, restart and compare (a quarter of an hour)"
	@echo "make soak [ARGS=...]    a session of half an hour at 5,000 ticks a second: does anything grow?"
	@echo "make soak-ccxt [ARGS=..] 50 symbols through ccxt for ten minutes: does anything grow?"
	@echo "make model-trials       a better model is promoted by the rules on a live feed; one is refreshed on what it traded"
	@echo "make simulate [ARGS=..] the whole daemon under simulated time, network and faults"
	@echo "make setup              the environment for development (no torch)"
	@echo "make clients            the environment of the real clients that the tests run (test does it too)"
	@echo "make ray                a study on a local Ray cluster of two workers (installs Ray beside the environment)"
	@echo "make river              what river's ADWIN finds, for the test of ours (installs river beside the environment)"
	@echo "make coverage           the suite with line and branch coverage"
	@echo "make calendars          compile the trading calendars again (after a new version of exchange_calendars)"
	@echo "make results [ARGS=..]  the results of record: goes on where it stopped (ARGS=\"--list\"; needs ../shared/data)"
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

# Other people's clients of the venues, in an environment of their own under var/ (tests/clients).
clients: $(VENV)/.dev
	@$(BIN)/python -m tests.clients.environment

# Trials of a study on a Ray cluster, in an environment of its own under var/; not a part of the tests.
ray: $(VENV)/.train
	@$(BIN)/python -m tests.support.ray_cluster

# What the ADWIN of river finds in streams that ours is held against; the tests read what is written here.
river: $(VENV)/.dev
	@$(BIN)/python -m tests.support.river_adwin

test: $(VENV)/.train
	@$(BIN)/python -m tests.clients.environment --optional
	@$(BIN)/python -m tests.clients.environment --optional --mlflow
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal $(ARGS)

# The property tests with examples of their own each time; FUZZ_ROUNDS of them.
fuzz: $(VENV)/.dev
	@for round in $$(seq $(FUZZ_ROUNDS)); do \
	  $(BIN)/python -m pytest tests/property -n $(TEST_WORKERS) --dist worksteal --hypothesis-profile=fuzz $(ARGS) || exit 1; \
	done

coverage: $(VENV)/.train
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal --cov --cov-report=term $(ARGS)

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

# Goes on where its ledger ends, or the sums of earlier ones.  ARGS="--across-versions" counts what other versions of the
# code have run as well.
simulate: $(VENV)/.base-$(SERVE)
	@$(BIN)/python run.py simulate --ledger var/simulation/ledger.jsonl --until-hours $(SIMULATED_HOURS) \
	  --record docs/results/simulation.json --write docs/results/simulation.md $(ARGS)

# Writes its page only when it is asked to: ARGS="--write docs/results".
soak: $(VENV)/.base-$(SERVE)
	@$(BIN)/python -m benchmarks.soak $(ARGS)

soak-ccxt: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.ccxt_soak $(ARGS)

demo-bundles: $(VENV)/.train
	@for name in demo-crypto demo-fx; do \
	    $(BIN)/python run.py train --config config/train/$$name.yaml --run var/runs/$$name && \
	    $(BIN)/python run.py evaluate --run var/runs/$$name --explain "the pull of the queue: docs/models.md" && \
	    $(BIN)/python run.py models bundle var/runs/$$name && \
	    rm -rf models/artifacts/$$name && \
	    cp -r var/runs/$$name/bundle/$$name models/artifacts/$$name || exit 1; done

# Goes on where an earlier call stopped, also one on another machine whose results are committed.
results: $(VENV)/.train
	@$(BIN)/python run.py results $(ARGS)

# Real daemons for some ten minutes; ARGS=rollout or ARGS=refresh for one of the two (rollout needs ../shared/data).
model-trials: $(VENV)/.train
	@$(BIN)/python -m tests.support.model_trials $(ARGS)

calendars: $(VENV)/.dev
	@$(BIN)/python docs/make_calendars.py

clean:
	@rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
