"""The rule of the floors: a file imports from its own room or from rooms below. No arrow up, no circle, no crowd."""

from __future__ import annotations

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

from tests.support import paths

ROOT = paths.ROOT
FOLDERS = {"pipeline": "heatbeam", "transforms": "heatbeam.transforms"}

# From the ground up; rooms of one line do not know each other.
FLOORS = (
    ("transforms.errors", "transforms.records", "transforms.sampling", "transforms.tally"),
    ("transforms.heatmaps",),
    ("transforms.metrics.contours",),  # knows arrays only; how loops are compiled is for the rooms above too
    ("transforms.sources",),
    ("transforms.models",),
    ("transforms.methods",),
    ("transforms.metrics",),
    ("transforms.tables",),
    ("transforms.engine",),
    ("transforms.engine.compute",),  # tries whole engines
    ("transforms",),  # the steps
    ("config",),
    ("command",),
    ("runners",),
    ("runs",),
    ("pages",),
    ("audit",),
    ("report", "compare", "export"),
    ("explore",),
    ("job",),
    ("audit.proving",),  # a job over a finished run, of the room whose suspects it tries
    ("bench", "beam", "listing", "prepare"),
    ("demo",),
    ("cli",),
    ("process",),
    ("", "__main__"),  # the front door
)
STEPS = ("read", "decode", "explain", "reuse", "localize", "aggregate", "best_boxes", "write", "account")

# What a room must not load, whatever it is for.
HELD_BACK = {
    "transforms.metrics": ("tensorflow", "keras", "apache_beam"),
    "transforms.models": ("apache_beam",),
    "transforms.methods": ("apache_beam",),
    "transforms.engine": ("apache_beam",),
}
# Copies a model from wherever Beam's file systems reach.
FETCHES = ("heatbeam.transforms.models.files.model_files",)
PURE = (
    "heatbeam.config",
    "heatbeam.transforms.errors",
    "heatbeam.transforms.records",
    "heatbeam.transforms.heatmaps",
    "heatbeam.transforms.tables.schemas",
    "heatbeam.transforms.tables.rows",
    "heatbeam.transforms.methods.registry",
    "heatbeam.transforms.models.model_source",
    "heatbeam.transforms.engine.specs",
    "heatbeam.transforms.metrics.image_evidence",
    "heatbeam.transforms.metrics.localization.localization",
    "heatbeam.transforms.metrics.summary",
    "heatbeam.transforms.metrics.faithfulness.measure",
    "heatbeam.transforms.metrics.registry",
)
MOST_ENTRIES = 22


def name_of(path: pathlib.Path) -> str:
    """Import name of a source file."""
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *(part for part in rest if part != "__init__")])


FILES = {name_of(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def room_of(module: str) -> str:
    """The most specific line of FLOORS that a module belongs to."""
    inner = module.removeprefix("heatbeam").removeprefix(".")
    known = [room for floor in FLOORS for room in floor if room and f"{inner}.".startswith(f"{room}.")]
    return max(known, key=len, default=inner)


def floor_of(room: str) -> int:
    return next((number for number, floor in enumerate(FLOORS) if room in floor), -1)


def imports_of(path: pathlib.Path, *, at_import_only: bool = False) -> set[str]:
    """Every name that a file imports, wherever in the file; for packages of ours the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {_module(name) for name in found}


def _module(name: str) -> str:
    """`name`, or the module of ours that holds it."""
    whole = name
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name or whole


@pytest.mark.parametrize("module", FILES)
def test_every_file_is_in_a_known_room(module):
    assert floor_of(room_of(module)) >= 0, f"{module}: add its room to FLOORS"


@pytest.mark.parametrize("module", FILES)
def test_nothing_imports_upwards(module):
    room = room_of(module)
    known = {name for name in imports_of(FILES[module]) if name in FILES and not name.endswith("__init__")}
    wrong = {
        name for name in known if room_of(name) != room and floor_of(room_of(name)) >= floor_of(room) and name != module
    }
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("module", FILES)
def test_a_room_does_not_load_what_it_must_not(module):
    held_back = {name for room, names in HELD_BACK.items() if module.startswith(f"heatbeam.{room}.") for name in names}
    wrong = {name for name in imports_of(FILES[module]) if name.split(".")[0] in held_back}
    if module in FETCHES:
        wrong = {name for name in wrong if not name.startswith("apache_beam.io.")}
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}"


def test_no_circle():
    graph = {module: imports_of(path, at_import_only=True) & FILES.keys() - {module} for module, path in FILES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("step", STEPS)
def test_a_step_knows_no_other_step(step):
    imported = imports_of(ROOT / "transforms" / f"{step}.py")
    assert not imported & {f"heatbeam.transforms.{other}" for other in STEPS if other != step}


@pytest.mark.parametrize("module", FILES)
def test_the_two_folders_are_imported_as_heatbeam_only(module):
    assert not {name for name in imports_of(FILES[module]) if name.split(".")[0] in (*FOLDERS, "tests")}


def test_no_folder_is_crowded():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    entries: dict[pathlib.PurePosixPath, set[str]] = {}
    for line in listed.stdout.splitlines():
        path = pathlib.PurePosixPath(line)
        for parent in path.parents:
            entries.setdefault(parent, set()).add(path.relative_to(parent).parts[0])
    crowded = {str(folder): len(names) for folder, names in entries.items() if len(names) > MOST_ENTRIES}
    assert not crowded


@pytest.mark.parametrize("module", FILES)
def test_every_module_says_what_it_is_and_is_no_grab_bag(module):
    assert ast.get_docstring(ast.parse(FILES[module].read_text(encoding="utf-8")))
    assert FILES[module].stem not in ("utils", "util", "helpers", "common", "misc", "manager")


def test_pure_modules_load_neither_tensorflow_nor_beam_nor_protobuf():
    program = "import sys\n" + "".join(f"import {module}\n" for module in PURE)
    program += "print([m for m in ('tensorflow', 'keras', 'apache_beam', 'google.protobuf') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
