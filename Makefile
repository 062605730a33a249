# Portrait. `make` alone prints help.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
SOURCES := $(if $(DATA),--sources $(DATA),)

.DEFAULT_GOAL := help
.PHONY: help install run ui show psql test test-fast lint format bench down clean

help: ## This help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): requirements.txt constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "portrait: $(PYTHON) not found; install Python 3.11 or say make PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED) requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@

install: $(INSTALLED) ## Create .venv and install Portrait

run: $(INSTALLED) ## Set up everything, run the next business date through Airflow (DATA=your/sources.yaml)
	@$(BIN)/portrait run $(SOURCES)

ui: $(INSTALLED) ## Airflow UI at a printed address with a printed login, until Ctrl-C (DATA=...)
	@$(BIN)/portrait ui $(SOURCES)

show: $(INSTALLED) ## The published night again: models, tables, three customers (DATA=...)
	@$(BIN)/portrait show $(SOURCES)

psql: $(INSTALLED) ## SQL on the profile tables (DATA=...)
	@$(BIN)/portrait db psql $(SOURCES)

# tests/conftest.py has the order: the longest first.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder

test: $(INSTALLED_DEV) ## Every test (real PostgreSQL, Airflow's scheduler)
	$(BIN)/python -m pytest $(WORKERS)

test-fast: $(INSTALLED_DEV) ## Tests that take seconds
	$(BIN)/python -m pytest $(WORKERS) -m "not slow and not airflow"

lint: $(INSTALLED_DEV) ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED_DEV) ## Let ruff format and sort
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED_DEV) ## Side-by-side measurements (some need PORTRAIT_BENCHMARK_DATA)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

down: ## Stop the embedded PostgreSQL
	@$(BIN)/portrait db down

clean: ## Stop it and delete everything that was made (.portrait)
	@test ! -x $(BIN)/portrait || $(BIN)/portrait db down || true
	rm -rf .portrait
