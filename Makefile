# One verb a job; continuous integration runs the same verbs.
PYTHON ?= python3
# For `make run`, such as FLAGS=--trust-submissions on a system without a sandbox.
FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint format bench clean

run: $(VENV)/.run-installed  ## set up, then validate, train and render the default track
	@command -v bwrap > /dev/null || echo 'bubblewrap is missing, so the sandbox is weaker than it could be: apt install bubblewrap' >&2
	$(BIN)/harness $(FLAGS) all

test: $(VENV)/.test-installed  ## set up, then every test
	$(BIN)/pytest -n auto --dist loadfile

lint: $(VENV)/.dev-installed  ## formatting, lint, types, the direction of imports, workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --no-progress --quiet .github/workflows

format: $(VENV)/.dev-installed  ## what `lint` would complain about, as far as a tool can fix it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test-installed  ## speed against the plain loop, as ratios measured in one run
	$(BIN)/pytest tests/benchmarks --benchmark-only --benchmark-disable-gc --benchmark-autosave

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run-installed: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.test-installed: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.dev-installed: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[test,dev]'
	@touch $@
