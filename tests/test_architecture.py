"""Who may import whom. Data goes read -> decode -> explain -> localize -> aggregate -> write; imports go down only."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(p for folder in ("pipeline", "transforms") for p in (ROOT / folder).rglob("*.py"))

# Steps know records and what lies below them, never another step; only pipeline.graph knows their order.
STEPS = ("read", "decode", "explain", "localize", "aggregate", "best_boxes", "write", "account")
HELD_BACK = {
    "transforms.metrics": ("tensorflow", "keras", "apache_beam", "pipeline"),
    "transforms.methods": ("apache_beam", "pipeline"),
    "transforms": ("pipeline",),
}
PURE = (
    "pipeline.config",
    "pipeline.bench.host_work",
    "pipeline.bench.seeded_weights",
    "transforms.image_evidence",
    "transforms.records",
    "transforms.schemas",
    "transforms.rows",
    "transforms.methods.heatmaps",
    "transforms.methods.registry",
    "transforms.metrics.localization",
    "transforms.metrics.summary",
    "transforms.metrics.faithfulness",
)


def name_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path: pathlib.Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_imports_upwards(path):
    module = name_of(path)
    held_back = next((names for prefix, names in HELD_BACK.items() if module.startswith(prefix + ".")), ())
    wrong = {i for i in imports_of(path) if i.split(".")[0] in held_back}
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_knows_no_other_step(step):
    imported = {i.split(".")[1] for i in imports_of(ROOT / "transforms" / f"{step}.py") if i.startswith("transforms.")}
    others = {other for other in STEPS if other != step and other in imported}
    assert not others


@pytest.mark.parametrize("package", ["pipeline", "transforms", "transforms/methods", "transforms/metrics"])
def test_packages_are_free_of_imports(package):
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    assert len(tree.body) == 1 and ast.get_docstring(tree)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is_and_is_no_grab_bag(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert path.stem not in ("utils", "util", "helpers", "common", "misc", "manager")


def test_pure_modules_load_neither_tensorflow_nor_beam():
    program = "import sys\n" + "".join(f"import {module}\n" for module in PURE)
    program += "print([m for m in ('tensorflow', 'keras', 'apache_beam') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
