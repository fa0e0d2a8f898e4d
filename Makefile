# `make demo` and `make test` are all that a fresh clone needs: Python >= 3.11, git and make.
# Nothing is installed again unless what it was installed from has changed.
PYTHON ?= python3
VENV ?= .venv

BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet -c constraints.txt
# One thread a worker: on two cores 104 s, against 141 s with the default threads and 225 s without workers.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4
SOURCES = $(shell find manifold_probe -type f -not -name '*.pyc')

.PHONY: demo test test-all docs figures lint clean

demo: $(VENV)/.package
	$(BIN)/probe demo

test: $(VENV)/.dev
	$(PYTEST)

test-all: $(VENV)/.peers
	$(PYTEST) -m "slow or not slow"

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

figures: $(VENV)/.dev
	$(BIN)/python experiments/study/analyse.py
	$(BIN)/python figures/draw.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist probe-demo site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Where the editable install of `make test` is present it already follows the sources.
$(VENV)/.package: $(SOURCES) pyproject.toml constraints.txt | $(BIN)/python
	test -e $(VENV)/.dev || $(INSTALL) .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(INSTALL) -e '.[docs]'
	@touch $@

$(VENV)/.peers: $(VENV)/.docs
	$(INSTALL) -e '.[dev,peers,slow]'
	@touch $@
