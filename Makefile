# What a developer types. Every target makes the virtual environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test lint bench test-flink clean

$(STAMP): setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $(STAMP)

# The bundled sample: dataset, model, run and report, in runs/demo.
demo: $(STAMP)
	$(BIN)/heatbeam demo --directory runs/demo

# Files of tests side by side: most tests keep one core busy, and some only wait.
test: $(STAMP) lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The whole job on a real Flink, also while parts of it die. Needs Java 11 or 17 and Maven; downloads go to build/flink.
test-flink: $(STAMP)
	$(BIN)/python tests/support/flink_cluster.py job-server
	$(BIN)/python -m pytest -m flink tests/job/test_flink.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/support/link_tree.py build/tree
	$(BIN)/mypy

# What the pipeline costs over the model, in build/bench.json; minutes, on a quiet machine. See "Speed" in the README.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks --trace build/bench_trace.json

clean:
	rm -rf $(VENV) build runs *.egg-info
