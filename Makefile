# Two commands matter: `make demo` (light core, one find) and `make test` (everything, whole suite).
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test slow coverage lint types docs install-core install-dev atlas relevance clean

demo: $(VENV)/core
	$(BIN)/netatlas find "small image classifier without attention, under 6M params, above 75% top-1"

test: $(VENV)/dev
	$(BIN)/python -m pytest -m "not slow and not network and not gpu"

slow: $(VENV)/dev
	$(BIN)/python -m pytest -m "slow and not network and not gpu"

coverage: $(VENV)/dev
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered -m "not slow and not network and not gpu"

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/dev
	$(BIN)/mypy

atlas: $(VENV)/dev  ## rebuild the starter atlas from the installed libraries (about half an hour on two cores)
	$(BIN)/python scripts/make_starter.py

docs: $(VENV)/dev
	$(BIN)/python scripts/write_docs.py

relevance: $(VENV)/core
	$(BIN)/python benchmarks/find_quality.py

$(VENV)/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	touch $@

$(VENV)/core: $(VENV)/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml constraints.txt
	$(PIP) torch torchvision
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/core

install-core: $(VENV)/core
install-dev: $(VENV)/dev

clean:
	rm -rf $(VENV) build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
