"""Imports go one way: from the rooms above to those below, and from network files to nothing of this package."""

import ast
from graphlib import TopologicalSorter

import pytest
from helpers import ROOT

# from the top to the bottom: a module imports from its own room and from those below
ROOMS = (
    "__main__", "study", "bench", "deploy", "pretrain", "distill", "supervised", "augment", "cache", "teacher",
    "simulate", "datasets", "evaluate", "weaver_hooks", "pairing", "configs", "expressions", "classes", "families",
    "init", "requirements", "resources", "checkpoints", "digests", "jet_labels", "definitions", "jet_files", "hdf5",
    "machine", "timing", "arguments", "files", "errors",
)  # fmt: skip
HOOKS = {"Sophon", "contrastive", "distill", "finetune", "supervised", "firmware"}  # weaver trains others through them


def modules():
    """{name: path} of all modules of the package, without the name of the package."""
    names = {path: path.relative_to(ROOT / "kd_trainer").with_suffix("") for path in ROOT.glob("kd_trainer/**/*.py")}
    found = {".".join(name.parts).removesuffix(".__init__"): path for path, name in names.items()}
    del found["__init__"]  # the surface of the package, which imports from all rooms when asked to
    return found


def imports(path, known):
    """Modules of this package that a file imports, wherever it does: {name: line}."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} is a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, inside = name.partition(".")
            if package == "kd_trainer":
                found[inside if inside in known else inside.rpartition(".")[0]] = node.lineno
    return found


def test_every_room_has_its_place():
    assert sorted({name.partition(".")[0] for name in modules()}) == sorted(ROOMS)


def test_imports_go_down():
    known = modules()
    wrong = []
    for name, path in known.items():
        place = ROOMS.index(name.partition(".")[0])
        for other, line in imports(path, known).items():
            if ROOMS.index(other.partition(".")[0]) < place:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {other} from above")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other():
    known = modules()
    graph = {name: set(imports(path, known)) - {name} for name, path in known.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("path", sorted(ROOT.glob("networks/*.py")), ids=lambda path: path.stem)
def test_model_files_need_nothing_of_this_package(path):
    assert bool(imports(path, modules())) == (path.stem in HOOKS)
