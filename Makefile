# Each target sets up what it needs; Python 3.11 or newer and make are all it asks for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test test-slow check bench clean

demo: $(READY)          ## a whole run on images the package draws itself
	rm -rf demo
	$(BIN)/tinysight demo --out demo

test: check             ## style, types, then every fast test with branch coverage
	$(BIN)/python -m pytest --cov --cov-report=term --durations=10

test-slow: $(READY)     ## the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout=3600

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)         ## every benchmark, one table each
	for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("tinysight needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) demo build dist
