# Two commands matter: `make demo` scores the sample data and opens the app, `make test` proves the code.
.DEFAULT_GOAL := help
.PHONY: help install demo app check test test-slow screenshots clean

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# A stamp a set of packages: nothing is installed again until pyproject.toml or constraints.txt change.
.venv/.stamp-core: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing mimic into .venv (about two minutes the first time)"
	@$(PIP) -e .
	@touch $@

.venv/.stamp-dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing mimic with its extras and tools into .venv (some minutes the first time)"
	@$(PIP) -e '.[dev]'
	@touch .venv/.stamp-core $@

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: .venv/.stamp-core  ## make .venv with what running needs

demo: .venv/.stamp-core  ## score sample_data and open the app on it
	@$(BIN)/mimic demo

app: .venv/.stamp-core  ## open the app on ./mimic-workspace
	@$(BIN)/mimic app

check: .venv/.stamp-dev  ## ruff, mypy, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/.stamp-dev  ## every test but the slow ones, in two processes
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: .venv/.stamp-dev  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

screenshots: .venv/.stamp-dev  ## draw docs/screenshots anew from the demo
	$(BIN)/python -m docs.screenshots

clean:  ## remove .venv and caches, never a workspace
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
