# Each target sets up what it needs; Python 3.11 or newer and make are all it asks for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test test-slow test-oldest check bench clean

demo: $(READY)          ## a whole run on images the package draws itself
	rm -rf demo
	$(BIN)/tinysight demo --out demo

test: check             ## style, types, then every fast test with branch coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal --cov --cov-report=term --durations=10

test-slow: $(READY)     ## the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout=3600

OLDEST := .venv-oldest
test-oldest:            ## boxes and report without torch, on the oldest dependencies that are promised
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --editable . $$($(PYTHON) -c "import tomllib; \
	    project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	    named = project['dependencies'] + project['optional-dependencies']['dask']; \
	    print(*(each.replace('>=', '==') for each in named))") hypothesis kneed pytest pytest-timeout pyyaml
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest tests/boxes tests/report \
	    --ignore tests/report/browser --ignore tests/report/test_heat_maps.py --ignore tests/boxes/test_export.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

BENCH = $(BIN)/python benchmarks
bench: $(READY)         ## one table each: make bench STORE=packed RUN=explained-run DATA=real-data TINYSIGHT_DATA=folder
	@test -n "$(STORE)" -a -n "$(RUN)" -a -n "$(DATA)" -a -n "$(TINYSIGHT_DATA)" || { echo "make bench needs STORE, a packed Tiny ImageNet; RUN, a run on it that was explained; DATA, the folder with the real annotations; TINYSIGHT_DATA, the folder that holds tiny-imagenet-200 as Parquet shards"; exit 1; }
	$(BENCH)/start_time.py --store $(STORE)
	$(BENCH)/pack_speed.py
	$(BENCH)/augment_speed.py
	$(BENCH)/data_path.py --store $(STORE)
	$(BENCH)/number_formats.py
	$(BENCH)/cpu_training.py --store $(STORE)
	$(BENCH)/convolution_speed.py
	$(BENCH)/training_scaling.py --store $(STORE)
	$(BENCH)/compact_candidates.py
	$(BENCH)/cam_speed.py --store $(STORE)
	$(BENCH)/cam_memory.py
	$(BENCH)/near_duplicates.py $(STORE)
	$(BENCH)/page_speed.py $(RUN)
	$(BENCH)/read_boxes.py
	$(BENCH)/boxes_report.py
	$(BENCH)/fuzz_boxes.py
	$(BENCH)/many_boxes.py
	$(BENCH)/anchors_speed.py $(DATA)
	$(BENCH)/certificate.py $(DATA)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("tinysight needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) demo build dist
