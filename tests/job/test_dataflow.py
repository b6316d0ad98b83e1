"""What Dataflow would get, as far as it can be seen offline: the translated job, the image's recipe, the template."""

from __future__ import annotations

import importlib.util
import io
import json
import pathlib
import re
import subprocess
import sys

import apache_beam as beam
import pytest
import yaml
from apache_beam.options import pipeline_options
from apache_beam.portability.api import beam_runner_api_pb2

from heatbeam import cli, config
from heatbeam.job import classes, flex_template, graph, plan, run, step_options
from heatbeam.runners import runner_options
from heatbeam.runs import run_directory
from heatbeam.transforms import explain
from heatbeam.transforms.engine import gpu_shares
from tests.support import keras_models, manifests, paths, small_runs

ROOT = paths.ROOT
ACCELERATOR = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"

needs_gcp = pytest.mark.skipif(
    importlib.util.find_spec("apitools") is None, reason="needs apache-beam[gcp]: pip install '.[gcp]'"
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> config.RunConfig:
    """``configs/dataflow.yaml`` with data and model that are here."""
    return settings_of("dataflow.yaml", tmp_path_factory.mktemp("dataflow"))


def settings_of(name: str, folder: pathlib.Path) -> config.RunConfig:
    text = yaml.safe_load((ROOT / "configs" / name).read_text())
    text["input"] = {"tfrecord": small_runs.write(folder / "data", [small_runs.record(i) for i in range(4)], 2)}
    text["model"] = {"path": keras_models.GAP, "preprocessing": "tf"}
    text["output"] = {"directory": str(folder / "run")}
    return config.RunConfig.model_validate(text)


@pytest.fixture(scope="module")
def pipeline(settings) -> beam.Pipeline:
    return pipeline_of(settings)


def pipeline_of(settings: config.RunConfig) -> beam.Pipeline:
    """The whole graph; nothing runs."""
    planned = plan.make(settings)
    engine, _ = explain.acquire_engine(planned.engine_spec)
    options = pipeline_options.PipelineOptions(
        [
            "--runner=FnApiRunner",
            "--no_save_main_session",
            "--sdk_container_image=registry/heatbeam:gpu",
            "--environment_type=DOCKER",
        ]
    )
    built = beam.Pipeline(options=options)
    directory = run_directory.RunDirectory(settings.output.directory)
    planned, names = classes.resolved(planned, engine.description)
    graph.build(built, step_options.make(planned, engine.description, names, directory))
    return built


@pytest.fixture(scope="module")
def proto(pipeline) -> beam_runner_api_pb2.Pipeline:
    return pipeline.to_runner_api(use_fake_coders=False)


class Flow:
    """The leaves of a translated pipeline, and what flows between them."""

    def __init__(self, proto: beam_runner_api_pb2.Pipeline) -> None:
        self.environments = proto.components.environments
        self.leaves = [t for t in proto.components.transforms.values() if not t.subtransforms and t.spec.urn]
        self.consumers: dict[str, list[beam_runner_api_pb2.PTransform]] = {}
        for leaf in self.leaves:
            for collection in leaf.inputs.values():
                self.consumers.setdefault(collection, []).append(leaf)

    def named(self, pattern: str) -> list[beam_runner_api_pb2.PTransform]:
        return [leaf for leaf in self.leaves if re.search(pattern, leaf.unique_name)]

    def shuffles_behind(self, leaf: beam_runner_api_pb2.PTransform, outputs: list[str]) -> list[str]:
        """The first shuffle on every way down from `outputs` of `leaf`."""
        found, waiting, seen = [], [leaf.outputs[name] for name in outputs], set()
        while waiting:
            for consumer in self.consumers.get(waiting.pop(), []):
                if consumer.unique_name in seen:
                    continue
                seen.add(consumer.unique_name)
                if consumer.spec.urn == "beam:transform:group_by_key:v1":
                    found.append(consumer.unique_name)
                else:
                    waiting += consumer.outputs.values()
        return sorted(found)

    def hints(self, leaf: beam_runner_api_pb2.PTransform) -> dict[str, bytes]:
        return dict(self.environments[leaf.environment_id].resource_hints)


def test_hints_are_on_decode_explain_and_localize_only(proto):
    flow = Flow(proto)
    wanted = {
        "beam:resources:accelerator:v1": ACCELERATOR.encode(),
        "beam:resources:min_ram_bytes:v1": b"12000000000",
    }
    hinted = {leaf.unique_name for leaf in flow.leaves if flow.hints(leaf)}
    inside = {leaf.unique_name for leaf in flow.named("^ExplainImages/") if leaf.environment_id}
    assert hinted == inside and len(inside) >= 4
    assert all(flow.hints(leaf) == wanted for leaf in flow.named("^ExplainImages/") if leaf.environment_id)
    for step in ("Decode", "Explain", "Localize"):
        assert flow.named(f"^ExplainImages/{step}"), step


def test_no_shuffle_carries_pixels_or_heatmaps(proto):
    """Between reading and writing no step groups: what is shuffled further on is file names, counts and sums."""
    flow = Flow(proto)
    assert not [leaf.unique_name for leaf in flow.named("^ExplainImages/") if "group_by_key" in leaf.spec.urn]
    assert not [leaf.unique_name for leaf in flow.named("^ExplainImages/") if "reshuffle" in leaf.spec.urn.lower()]
    (parse,) = flow.named("^Read/(.*/)?Parse")
    shuffles = flow.shuffles_behind(parse, list(parse.outputs))
    allowed = (
        r"^Write\w+/.*Write/WriteImpl/GroupByKey$",  # names of temporary files
        r"^WriteDeadLetters/.*GroupByKey",  # dead letters, into one file
        r"^Account/.*GroupByKey",  # counts, added up on the worker first
        r"^Aggregate/.*GroupByKey",  # sums, added up on the worker first
    )
    assert shuffles and not [name for name in shuffles if not any(re.search(pattern, name) for pattern in allowed)]


def test_sums_are_added_up_before_they_are_shuffled(proto):
    """The first shuffle on the way to Account and Aggregate is inside a CombinePerKey, which runners lift."""
    flow = Flow(proto)
    lifted = {
        proto.components.transforms[child].unique_name
        for transform in proto.components.transforms.values()
        if transform.spec.urn == "beam:transform:combine_per_key:v1"
        for child in transform.subtransforms
    }
    (parse,) = flow.named("^Read/(.*/)?Parse")
    first = [
        name for name in flow.shuffles_behind(parse, list(parse.outputs)) if re.match("(Account|Aggregate)/", name)
    ]
    assert first and set(first) <= lifted


def test_no_model_and_no_data_in_the_job(proto):
    """The model travels by its path: with weights in it, the job would be larger than the model's file."""
    payloads = [len(t.spec.payload) for t in proto.components.transforms.values()]
    assert max(payloads) < pathlib.Path(keras_models.GAP).stat().st_size / 2
    assert proto.ByteSize() < 600_000
    explaining = [t for t in proto.components.transforms.values() if "ExplainImages/Explain/Explain" in t.unique_name]
    assert explaining and not any(b"kernel" in t.spec.payload or b"keras.src" in t.spec.payload for t in explaining)


def test_every_step_that_is_hinted_uses_one_environment(proto):
    flow = Flow(proto)
    assert len({leaf.environment_id for leaf in flow.named("^ExplainImages/") if leaf.environment_id}) == 1


def test_dataflow_config_keeps_one_model_per_machine():
    given = config.load(ROOT / "configs" / "dataflow.yaml")
    arguments = runner_options.beam_arguments(given.runner, ["--project=some-project", "--region=europe-west4"])
    options = pipeline_options.PipelineOptions(arguments)
    assert not options.view_as(pipeline_options.SetupOptions).save_main_session
    assert options.view_as(pipeline_options.DebugOptions).number_of_worker_harness_threads == 3
    assert "no_use_multiple_sdk_containers" in options.view_as(pipeline_options.DebugOptions).experiments
    assert given.runner.resource_hints["accelerator"] == ACCELERATOR


def test_processes_that_share_a_gpu_are_all_alike_and_know_their_part(tmp_path):
    """`dataflow_mps.yaml`: one environment for all steps, no hint, and each worker's part of the memory in its step."""
    given = settings_of("dataflow_mps.yaml", tmp_path)
    translated = pipeline_of(given).to_runner_api(use_fake_coders=False)
    flow = Flow(translated)
    assert not [leaf.unique_name for leaf in flow.leaves if flow.hints(leaf)]
    assert len({leaf.environment_id for leaf in flow.leaves if leaf.environment_id}) == 1
    assert plan.make(given).engine_spec.gpu_memory == gpu_shares.GpuMemory(8)

    options = pipeline_options.PipelineOptions(runner_options.beam_arguments(given.runner, ["--region=europe-west4"]))
    assert options.view_as(pipeline_options.WorkerOptions).machine_type == "g2-standard-8"
    assert options.view_as(pipeline_options.DebugOptions).experiments == ["use_runner_v2"]
    assert options.view_as(pipeline_options.GoogleCloudOptions).dataflow_service_options == [
        "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver;use_nvidia_mps"
    ]


def test_workers_get_the_models_path_from_the_root(tmp_path, monkeypatch):
    """A worker's current folder is the runner's choice."""
    monkeypatch.chdir(tmp_path)
    given = config.load(ROOT / "configs" / "flink.yaml")
    assert plan.engine_spec(given).model.path == str(tmp_path / "runs" / "demo_data" / "model.keras")
    remote = config.load(ROOT / "configs" / "flink.yaml", ["model.path=gs://bucket/model.keras"])
    assert plan.engine_spec(remote).model.path == "gs://bucket/model.keras"


@needs_gcp
@pytest.mark.timeout(120)
def test_dataflow_accepts_the_job(settings, tmp_path):
    """The runner's own translation, up to the request that it would send."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    planned = plan.make(settings)
    engine, _ = explain.acquire_engine(planned.engine_spec)
    job = tmp_path / "job.json"
    for name in ("staging", "temp"):
        (tmp_path / name).mkdir()
    extra = ["--project=some-project", "--region=europe-west4", "--no_auth", f"--template_location={job}"]
    extra += [f"--staging_location={tmp_path / 'staging'}", f"--temp_location={tmp_path / 'temp'}"]
    extra += ["--sdk_location=container", "--sdk_container_image=registry/heatbeam:gpu"]
    with pytest.MonkeyPatch.context() as patch:
        # Its checks of buckets need the network; nothing else is changed.
        patch.setattr(GoogleCloudOptions, "validate", lambda self, validator: [])
        options = pipeline_options.PipelineOptions(runner_options.beam_arguments(settings.runner, extra))
        built = beam.Pipeline(options=options)
        directory = run_directory.RunDirectory(str(tmp_path / "run"))
        planned, names = classes.resolved(planned, engine.description)
        graph.build(built, step_options.make(planned, engine.description, names, directory))
        built.run()
    written = json.loads(job.read_text())
    environment = written["environment"]
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    (pool,) = environment["workerPools"]
    images = [image["containerImage"] for image in pool["sdkHarnessContainerImages"]]
    assert images and set(images) == {"registry/heatbeam:gpu"}
    translated = built.runner.proto_pipeline.components.environments.values()
    assert any(e.resource_hints.get("beam:resources:accelerator:v1") == ACCELERATOR.encode() for e in translated)
    staged = [p.name for p in (tmp_path / "staging").rglob("*") if p.is_file()]
    assert not [name for name in staged if "main_session" in name or name.endswith((".keras", ".pickled"))]


def test_template_parameters_are_those_of_the_program():
    template = json.loads((ROOT / "configs" / "flex_template.json").read_text())
    assert {"name", "description", "parameters"} <= template.keys()
    actions = {a.dest: a for a in flex_template.parser()._actions if a.dest != "help"}
    parameters = {p["name"]: p for p in template["parameters"]}
    assert parameters.keys() == actions.keys()
    known = {"name", "label", "helpText", "paramType", "isOptional", "regexes"}
    for name, parameter in parameters.items():
        assert parameter.keys() <= known and {"label", "helpText"} <= parameter.keys()
        assert parameter["isOptional"] is not actions[name].required
        assert parameter["paramType"] in {"TEXT", "GCS_READ_FILE", "GCS_READ_BUCKET", "GCS_WRITE_FOLDER", "ENUM"}


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("config", "gs://bucket/audits/resnet.yaml", True),
        ("config", "/home/me/resnet.yaml", False),
        ("overrides", "output.directory=gs://bucket/run;explain.batch_size=64", True),
        ("overrides", "explain.methods=[cam, grad_cam]", True),
        ("overrides", "batch_size 64", False),
    ],
)
def test_template_patterns(name, value, valid):
    template = json.loads((ROOT / "configs" / "flex_template.json").read_text())
    (parameter,) = (p for p in template["parameters"] if p["name"] == name)
    assert all(re.fullmatch(pattern, value) is not None for pattern in parameter["regexes"]) is valid


def test_template_program_reads_the_configuration_and_its_overrides():
    path = str(ROOT / "configs" / "dataflow.yaml")
    given = flex_template.settings(path, "output.directory=gs://other/run; explain.batch_size=16;")
    assert (given.output.directory, given.explain.batch_size) == ("gs://other/run", 16)
    assert given.runner.name == "dataflow"
    with pytest.raises(config.ConfigError, match="cannot read"):
        flex_template.settings("/nowhere.yaml", "")


def test_launched_run_is_finished_later(tmp_path, capsys):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(6)], 2)
    configured = small_runs.settings(pattern, tmp_path / "run", "explain.methods=[cam]", "output.report=true")
    directory = run.launch(configured, ())
    assert directory.read_any_manifest().status == "running"
    assert cli.main(["finish", directory.path]) == 0
    assert (tmp_path / "run" / "report.html").exists()
    finished = run.Result(directory, directory.read_manifest())
    assert finished.manifest.status == "succeeded"
    assert finished.manifest.counts.images_explained == 6
    whole = run.run(small_runs.settings(pattern, tmp_path / "other", "explain.methods=[cam]"), (), io.StringIO())
    small_runs.assert_same_rows(small_runs.rows(finished.directory), small_runs.rows(whole.directory))
    assert cli.main(["finish", directory.path]) == 2
    assert "only a running one" in capsys.readouterr().err


def test_unfinished_job_cannot_be_finished(tmp_path):
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    directory.create(manifests.manifest(), overwrite=False)
    with pytest.raises(run.RunFailed, match="not done"):
        run.finish(directory.path)
    assert directory.read_any_manifest().status == "running"


def test_image_holds_what_the_program_needs():
    """The Dockerfile copies every package of setup.py, and starts files that exist."""
    text = (ROOT / "Dockerfile").read_text()
    for package in ("pipeline", "transforms"):
        assert f"COPY {package} {package}" in text
    program = re.search(r"FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/heatbeam/(\S+)", text)
    assert program and (ROOT / program[1]).exists()
    beam_version = re.search(r"^ARG BEAM=(\S+)$", text, re.MULTILINE)
    assert beam_version and beam_version[1] == beam.__version__


def test_setup_file_ships_both_packages(tmp_path):
    """``--setup_file`` makes a source distribution on the launcher; workers need both packages from it."""
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "egg_info",
        f"--egg-base={tmp_path}",
        "sdist",
        f"--dist-dir={tmp_path}",
    ]
    subprocess.run([*command, "--formats=tar"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (archive,) = tmp_path.glob("heatbeam-*.tar")
    listed = subprocess.run(["tar", "tf", archive], check=True, capture_output=True, text=True).stdout
    for name in (
        "pipeline/runners/beam_worker.py",
        "pipeline/pages/templates/compare.html",
        "transforms/methods/cam.py",
        "transforms/write.py",
    ):
        assert f"/{name}" in listed, name
