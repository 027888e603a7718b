# Bare `make` lists what there is to do. Everything sets itself up: Python 3.11+ with venv, make and the package
# indexes are enough.
.DEFAULT_GOAL := help
.PHONY: help venv demo run test check format lint types imports unit integration acceptance bench soak away clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Emberwatch needs Python 3.11 or newer; name one with make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

venv: $(INSTALLED) ## set up the Python environment in .venv

demo: venv ## run everything on this machine with a simulated town that catches fire (Ctrl-C ends it)
	@$(BIN)/emberwatch demo $(ARGS)

run: venv ## run all roles against the configured broker and database
	@$(BIN)/emberwatch run $(ARGS)

test: venv ## all tests: unit and integration on two cores, then acceptance alone; ARGS="tests/api -k people" for some
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/acceptance
	$(BIN)/python -m pytest tests/acceptance
endif

check: format-check lint types imports unit ## the fast gate: format, lint, strict types, import contracts, unit tests

format: venv ## format the code
	$(BIN)/ruff format .

.PHONY: format-check
format-check: venv
	$(BIN)/ruff format --check .

lint: venv ## lint
	$(BIN)/ruff check .

types: venv ## strict type check
	$(BIN)/mypy

imports: venv ## the import contracts between the rooms
	$(BIN)/lint-imports

unit: venv ## the unit tests alone (seconds)
	$(BIN)/python -m pytest -q --ignore=tests/integration --ignore=tests/acceptance

integration: venv ## tests against a real PostgreSQL and real brokers
	$(BIN)/python -m pytest tests/integration

acceptance: venv ## tests of the whole program as child processes
	$(BIN)/python -m pytest tests/acceptance

bench: venv ## ceilings, every role, fires told under load (some minutes); ARGS="--only writer" for a part
	$(BIN)/python -m tests.bench $(ARGS)

soak: venv ## havoc for longer, several seeds, as a table (SEEDS=5 MINUTES=5 FIRES=12 FIRST_SEED=1)
	$(BIN)/python -m tests.support.soak

away: venv ## the database away for long, the log full meanwhile, fires told all the same (MINUTES=10 RATE=300)
	$(BIN)/python -m tests.support.away

.PHONY: fuzz
fuzz: venv ## a million changed payloads for each family of codecs; ARGS="--codec tasmota --count 10000 --seed 2 --jobs 2"
	$(BIN)/python -m tests.fuzz $(ARGS)

clean: ## remove what make made
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
