"""Import the modules that a configuration names, from its own folder first: factories, custom layers, preprocessing.

The folder goes first on Python's path only while such a module is imported, so that nothing else can be hidden by a
file in it, and stays as the last entry for what the module imports later. Every process that loads the model does the
same: worker processes of one machine find the folder where the launcher did. A worker of a cluster does not have it;
there the module must be installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import pathlib
import sys
import sysconfig
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import load_failures

_IMPORTING = threading.RLock()
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def function(name: str, search_path: str | None, setting: str) -> Callable[..., Any]:
    """What ``module:function`` names.

    Args:
        name: of the module and of the function in it.
        search_path: folder to look in first, or None.
        setting: that holds the name, for messages.

    Raises:
        load_failures.ModelError: there is no such module or function, or the module cannot be imported.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise load_failures.ModelError(f"{setting} is {name!r}, expected module:function")
    found = getattr(module(module_name, search_path, setting), function_name, None)
    if not callable(found):
        raise load_failures.ModelError(
            f"{setting} {name!r} cannot be imported: {module_name} has no function {function_name}"
        )
    return found  # type: ignore[no-any-return]


def module(name: str, search_path: str | None, setting: str) -> types.ModuleType:
    """The module called `name`; arguments and errors as of `function`."""
    with _IMPORTING, _first_on_path(_home(name, search_path)) as home:
        if home is not None:
            _make_way(_top(name), home, setting)
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise _failed(name, setting, error) from error
            raise load_failures.ModelError(_not_found(name, search_path, setting)) from error
        except Exception as error:
            raise _failed(name, setting, error) from error


def custom_objects(names: Sequence[str], search_path: str | None) -> dict[str, Any]:
    """Classes and functions of the modules `names`, by their own names, for Keras to find while it loads a file.

    Raises:
        load_failures.ModelError: as `function`.
    """
    found: dict[str, Any] = {}
    for name in names:
        for each in vars(module(name, search_path, "model.imports")).values():
            if (inspect.isclass(each) or inspect.isfunction(each)) and _top(each.__module__) == _top(name):
                found[each.__name__] = each
    return found


def facts(source: model_source.ModelSource, preprocessing: model_source.Preprocessing) -> dict[str, dict[str, str]]:
    """Hex sha256 of the sources of the named modules, as ``code``; empty where none is named.

    Layers and pixels follow from them, and weights do not show it when they change.
    """
    functions = [name for name in (source.factory, preprocessing.mode) if name is not None and ":" in name]
    names = {*source.imports, *(name.partition(":")[0] for name in functions)}
    files = {name: module(name, source.search_path, "model").__file__ for name in sorted(names)}
    code = {n: hashlib.sha256(pathlib.Path(f).read_bytes()).hexdigest() for n, f in files.items() if f is not None}
    return {"code": code} if code else {}


def _top(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def _home(name: str, search_path: str | None) -> pathlib.Path | None:
    """The folder `search_path`, if the module called `name` is in it."""
    if search_path is None:
        return None
    folder = pathlib.Path(search_path)
    base = folder.joinpath(*name.split("."))
    return folder if base.with_name(f"{base.name}.py").is_file() or (base / "__init__.py").is_file() else None


@contextlib.contextmanager
def _first_on_path(folder: pathlib.Path | None) -> Iterator[pathlib.Path | None]:
    if folder is None:
        yield None
        return
    entry = str(folder)
    importlib.invalidate_caches()
    sys.path.insert(0, entry)
    try:
        yield folder
    finally:
        sys.path.remove(entry)
        if entry not in sys.path:
            sys.path.append(entry)


def _make_way(top: str, folder: pathlib.Path, setting: str) -> None:
    """Forget a module of this name that was imported from the folder of another run.

    Raises:
        load_failures.ModelError: it is of an installed package.
    """
    before = sys.modules.get(top)
    places = [] if before is None else [before.__file__] if getattr(before, "__file__", None) else [*before.__path__]
    if before is None or any(folder.resolve() in pathlib.Path(str(place)).resolve().parents for place in places):
        return
    if not places or any(str(place).startswith(_INSTALLED) for place in places):
        raise load_failures.ModelError(
            f"{setting}: {folder / top} has the name of a module in use, {places[0] if places else top}; rename it"
        )
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]


def _not_found(name: str, search_path: str | None, setting: str) -> str:
    places = (
        "installed" if search_path is None else f"in {search_path}, the folder of the configuration file, or installed"
    )
    return (
        f"{setting} cannot be imported: there is no module {name} {places}. Put it beside the configuration file or "
        "install it; workers of a cluster need it installed (by --setup_file or --extra_package in runner.options, or "
        "in their image)"
    )


def _failed(name: str, setting: str, error: BaseException) -> load_failures.ModelError:
    said = load_failures.of_code(error, lambda file: not file.startswith("<"))
    return load_failures.ModelError(f"{setting} cannot be imported: {name} raised {said}")
