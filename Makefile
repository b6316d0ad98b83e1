# What a developer types. Every target makes the virtual environment it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONSTRAINTS := tests/constraints.txt
UV := build/uv/bin/uv
OLDEST := build/oldest
OLDEST_PYTHON ?= python3.10

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo demo-kinds test tests coverage style types fuzz test-oldest test-families test-long test-flink test-integrations integrations lint bench bench-parts peers bench-audit constraints clean

# uv takes 6 s of a processor where pip takes 108, on packages that both have in their caches; pip where uv cannot.
$(STAMP): setup.py pyproject.toml $(CONSTRAINTS) | $(UV)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --constraint $(CONSTRAINTS) --editable '.[test]' || \
		$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[test]'
	touch $(STAMP)

# The bundled sample: dataset, model, run and report, in runs/demo.
demo: $(STAMP)
	$(BIN)/heatbeam demo --directory runs/demo

# The same for a series, a volume, an image of thirteen bands and a network of two inputs.
demo-kinds: $(STAMP)
	for kind in series volume bands multi_input; do $(BIN)/heatbeam demo --kind $$kind || exit 1; done

# Files of tests side by side: most tests keep one core busy, and some only wait. mypy takes its turn beside them.
test: $(STAMP) style
	$(MAKE) --no-print-directory --jobs 2 types tests

tests: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(COVER)

# `make test` with the lines and branches counted that the tests run; fails under 90 %. A third slower: Python's tracer
# also sees every line of TensorFlow and Beam.
coverage: export COVER := --cov --cov-report=term:skip-covered
coverage: test

# The suite with the lowest versions that setup.py allows, on the oldest Python; in a virtual environment of its own.
# What old libraries warn of among themselves is not an error there.
test-oldest: $(UV)
	test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	$(UV) pip install --quiet --python $(OLDEST)/bin/python --upgrade --resolution lowest-direct --editable '.[test]'
	$(OLDEST)/bin/python -m pytest -W default --numprocesses auto --maxprocesses 4 --dist loadfile

# The target layer of every family of keras.applications, of which `make test` has a few, and of KerasHub, which it has only
# where it is installed.
test-families: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[families]'
	$(BIN)/python -m pytest -m "not flink" --numprocesses 2 tests/transforms/models/test_families_of_keras.py \
		tests/transforms/models/test_families_of_keras_hub.py

# What takes half a minute each, whole runs above all: in worker processes, from folders of other names, over several
# failures, of every kind of data; what they show together `make test` has piece by piece.
test-long: $(STAMP)
	$(BIN)/python -m pytest -m long --numprocesses 2 --dist loadgroup

# Damage of manifests, configurations, shards and records at random, twenty times as much of it as in `make test`.
fuzz: $(STAMP)
	HEATBEAM_FUZZ=20 $(BIN)/python -m pytest --timeout 3600 tests/runs/test_damaged_manifests.py tests/config/test_config_damage.py \
		tests/transforms/sources/test_damaged_shards.py tests/transforms/test_damaged_records.py \
		tests/job/test_fault_matrix.py::test_shards_and_records_damaged_at_random_are_accounted_for_in_one_run

# The whole job on a real Flink, also while parts of it die. Needs Java 11 or 17 and Maven; downloads go to build/flink.
test-flink: $(STAMP)
	$(BIN)/python -m tests.support.flink_cluster job-server
	$(BIN)/python -m pytest -m flink tests/job/test_flink.py

# What must not share an environment with TensorFlow and Beam, in one of its own: a real MLflow server, a real Iceberg
# catalogue, DuckDB over it, a local Airflow, actionlint (where Go is), a validator of the JSON schema. Takes 4 minutes
# and 1.1 GB in build/integrations.
INTEGRATIONS := build/integrations
PUBLISH := $(INTEGRATIONS)/publish/bin/python
test-integrations: integrations
	$(BIN)/python -m tests.export.publish.finished_runs
	$(PUBLISH) -m pytest -W default -m integration tests/export/publish tests/command_line/test_schema.py \
		tests/command_line/test_schedules.py

# Its environments alone, which come over the network.
integrations: $(INTEGRATIONS)/.installed
$(INTEGRATIONS)/.installed: Makefile $(STAMP) $(UV)
	test -x $(PUBLISH) || $(PYTHON) -m venv $(INTEGRATIONS)/publish
	$(UV) pip install --quiet --python $(PUBLISH) mlflow 'pyiceberg[pyarrow,sql-sqlite]' argcomplete duckdb google-crc32c \
		huggingface_hub jsonschema opencv-python-headless pydantic pytest pytest-timeout pyyaml scipy sqlglot
	$(UV) pip install --quiet --python $(PUBLISH) --no-deps --editable .
	test -x $(INTEGRATIONS)/airflow/bin/python || $(PYTHON) -m venv $(INTEGRATIONS)/airflow
	$(UV) pip install --quiet --python $(INTEGRATIONS)/airflow/bin/python 'apache-airflow>=3' apache-airflow-providers-standard
	! command -v go >/dev/null || GOBIN=$(abspath $(INTEGRATIONS)) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7 || \
		echo "actionlint could not be installed; its test is skipped"
	touch $@

lint: style types

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/python tests/support/link_tree.py build/tree
	$(BIN)/mypy

# heatbeam over the faster of a hand-written loop and Xplique, ten families of models, in build/bench.json; about an hour, on
# a quiet machine. See tests/benchmarks/README.md, whose tables `python -m tests.benchmarks --markdown` writes.
bench: $(STAMP) peers
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[jpeg,openvino,onnxruntime]'
	$(BIN)/python -m tests.benchmarks --only families --only whole_passes --trace build/bench_trace.json

# The other figures: methods, localization, other libraries, defaults, size of the dataset; as long again.
bench-parts: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks $(foreach group,one_pass many_pass localization_cost peers choices host start scaling,--only $(group))

# Xplique asks for an older TensorFlow, though it runs with the newest: it and what it imports, in a folder of their own.
PEERS := build/peers
peers: $(PEERS)/.installed
$(PEERS)/.installed: Makefile $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(PEERS) xplique==2.0.2 einops deprecated \
		tensorflow-probability==0.25.0 tf-keras dm-tree decorator scikit-image lazy-loader
	touch $@

# What an audit's decisions are worth, in four parts, each run whatever the others say, one and a half hours on two cores: how
# often its gate fails on equal models and finds a loss (27 minutes), or does when it may stop early (20 to 40), whether drift
# of reasons is seen (18), and whether planted shortcuts are proved and no clean class is accused (networks are trained, 15).
bench-audit: $(STAMP)
	$(BIN)/python -m tests.benchmarks.audit

$(UV):
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv

# The exact versions that `make` installs, for every Python from 3.10 on. Versions in the file stay where setup.py
# allows them; UPGRADE=--upgrade takes the newest.
UPGRADE ?=
constraints: $(UV)
	$(UV) pip compile setup.py --extra test --extra bench --extra families --extra aws --universal --python-version 3.10 \
		--no-header --no-annotate --quiet $(UPGRADE) --output-file $(CONSTRAINTS)

clean:
	rm -rf $(VENV) build runs *.egg-info
