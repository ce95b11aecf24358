# Everything a person or CI runs. Each target sets up what it needs by itself, in .venv.
PYTHON ?= python3
BIN := .venv/bin
MODELS ?= all
POLICY ?= escalate:roles

.PHONY: setup demo test test-all bench fix check docs clean

setup: .venv/.installed

# Copies of the tools pinned in requirements.lock, by hash, and this package in place.
.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup  ## A real agent on embedded models: every step decided, called, checked, booked; then the bill.
	$(BIN)/agentrouter demo --models $(MODELS) --policy $(POLICY)

test: setup  ## The test suite (minutes).
	$(BIN)/python -m pytest -n 2 -m "not slow and not models"

test-all: setup  ## The suite with the slow tests; those that want model files skip where there are none.
	$(BIN)/python -m pytest -n 2

bench: setup  ## The benchmarks; each writes its JSON under benchmarks/results.
	$(BIN)/python benchmarks/run.py

fix: setup  ## Format and mend what the linter can.
	$(BIN)/ruff check --fix src tests benchmarks examples
	$(BIN)/ruff format src tests benchmarks examples

check: setup  ## Lint, format, strict types.
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy

docs: setup  ## Generated pages: config schema, command help, policy table. CI checks that they are current.
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv demo-out build dist
