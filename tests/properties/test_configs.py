"""Data configs and expressions: accepted ones only compute, pairing keeps the inputs of both, no program is run."""

import contextlib
import copy
import itertools
import string
import sys

import awkward as ak
import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from weaver.utils.data.eval_utils import _eval_expr
from weaver.utils.dataset import DataConfig

from kd_trainer import classes, configs, expressions
from kd_trainer.errors import InputError
from kd_trainer.pairing import pair

NAMES = st.sampled_from(["part_px", "part_py", "jet_pt"])
FUNCTIONS = st.sampled_from(
    ["np.abs({})", "np.hypot({}, 2)", "ak.ones_like({})", "-({})", "({})**2", "np.clip({}, 0, 1)"]
)
JETS = ak.Array({"part_px": [[1.0, 2], [], [3]], "part_py": [[0.5, 1], [], [2]], "jet_pt": [9.0, 8, 7]})
ARITHMETIC = st.recursive(
    NAMES | st.integers(0, 9).map(str) | st.floats(0, 9).map(repr),
    lambda x: (
        st.builds(str.format, FUNCTIONS, x)
        | st.builds("({} {} {})".format, x, st.sampled_from("+-*/"), x)
        | st.builds("({} > {})".format, x, x)
    ),
    max_leaves=8,
)
WORDS = [
    "np", "ak", "math", "part_px", "eval", "open", "__import__", "getattr", "load", "save", "log", "sum", "reduce",
    "x", "__class__", "_x", "tofile", "fromfile", "lib", "frompyfunc", "apply_along_axis", "from_parquet",
    "to_parquet", "behavior", "str", "format", "P3", "'os'", "'x'", "w", "1", "system", "loads", "map_coordinates",
    "attrs"
]  # fmt: skip
FORMS = ("{}({})", "{}({}, {})", "{}[{}]", "({} * {})", "[{} for x in {}]", "{{{}: {}}}", "(lambda x: {})({})",
         "f'{{{}}}'", "({} if {} else {})", "{}(x={})")  # fmt: skip
ANYTHING = st.recursive(
    st.sampled_from(WORDS),
    lambda x: (
        st.builds("{}.{}".format, x, st.sampled_from(WORDS)) | st.builds(str.format, st.sampled_from(FORMS), x, x, x)
    ),
    max_leaves=6,
)
WATCHED: list[list[str]] = []  # what programs do while an expression is evaluated, if it is not empty


def watch(event, args):
    writes = event == "open" and isinstance(args[1], str) and not args[1].startswith("r")
    if WATCHED and (
        writes or event.startswith(("os.", "subprocess.", "shutil.", "socket.", "pickle.", "ctypes.dlopen"))
    ):
        WATCHED[0].append(event)


sys.addaudithook(watch)


@given(ARITHMETIC)
def test_arithmetic_is_let_through_and_computes(expression):
    assert expressions.refused(expression) == ""
    with (
        np.errstate(all="ignore"),
        contextlib.suppress(ArithmeticError, TypeError, ValueError),
    ):  # such as 1 / 0, -(1 > 0)
        _eval_expr(expression, JETS)


@given(ANYTHING | st.text(string.printable, max_size=12))
@settings(max_examples=300)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_what_is_let_through_does_nothing_but_compute(expression):
    if expressions.refused(expression):
        return
    WATCHED.append([])
    with contextlib.suppress(Exception):  # whatever it makes of these jets
        _eval_expr(expression, JETS)
    assert not WATCHED.pop()


@st.composite
def data_configs(draw):
    """A data config with branches, variables that rest on one another, and two groups at most."""
    variables = dict(zip(("u", "v", "w"), draw(st.lists(ARITHMETIC, max_size=3))))
    for (earlier, _), later in itertools.pairwise(variables.items()):
        variables[later[0] if isinstance(later, tuple) else later] += f" + 0 * {earlier}"
    known = [*variables, "part_px", "part_py"]
    groups = {
        f"pf_{i}": {
            "length": draw(st.integers(1, 9)),
            "pad_mode": draw(st.sampled_from(["constant", "wrap"])),
            "vars": [[name, *draw(st.sampled_from([[None], [], [1.5, 0.7], [0, 1, -5, 5]]))] for name in of],
        }
        for i, of in enumerate(
            draw(st.lists(st.lists(st.sampled_from(known), min_size=1, unique=True), min_size=1, max_size=2))
        )
    }
    once = [v[0] for spec in groups.values() for v in spec["vars"]]
    assume(len(set(once)) == len(once))
    return {
        "selection": draw(st.sampled_from([None, "jet_pt > 0", "(jet_pt > 0) & (jet_pt < 9)"])),
        "new_variables": variables,
        "preprocess": {"method": "manual", "data_fraction": None},
        "inputs": groups,
        "labels": {"type": "simple", "value": ["label_a", "label_b"]},
        "observers": draw(st.sampled_from([None, ["jet_pt"]])),
    }


@given(data_configs(), data_configs())
def test_each_side_of_a_pair_is_the_config_that_was_paired(folder, student, teacher):
    before = copy.deepcopy((student, teacher))
    try:
        paired = pair(student, teacher)
    except InputError as error:
        assert "redefines" in str(error)
        return
    assert (student, teacher) == before
    configs.write(paired, folder / "paired.yaml", "x")
    assert configs.load(folder / "paired.yaml") == paired
    config = DataConfig(print_info=False, **paired)
    for view, options in ((configs.student_view(config), student), (configs.teacher_view(config), teacher)):
        alone = DataConfig(print_info=False, **options)
        for name in ("input_names", "input_dicts", "input_shapes", "preprocess_params", "label_value"):
            assert getattr(view, name) == getattr(alone, name), name
    cached = configs.cached(paired, {"teacher_logits": {"length": None, "vars": [["teacher_logits", None]]}})
    assert DataConfig(print_info=False, **cached).input_names == (*student["inputs"], "teacher_logits")
    with pytest.raises(InputError, match="no inputs for the teacher"):
        configs.teacher_view(DataConfig(print_info=False, **student))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
    | st.sampled_from(["jet_pt", "simple"]),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), x, max_size=3),
    max_leaves=5,
)  # fmt: skip
KEYS = [
    "inputs", "labels", "new_variables", "selection", "preprocess", "weights", "observers", "treename", "bucketing",
    "file_magic", "branch_magic", "monitor_variables", "test_time_selection"
]  # fmt: skip


@given(data_configs(), st.dictionaries(st.sampled_from(KEYS), TREES, min_size=1, max_size=3))
def test_any_sections_are_read_or_refused_in_a_line(folder, options, changes):
    (folder / "any.yaml").write_text(yaml.safe_dump({**options, **changes}, allow_unicode=True), encoding="utf-8")
    try:
        configs.load(folder / "any.yaml")
    except InputError as error:
        assert "any.yaml" in str(error) and "\n" not in str(error)


@given(st.binary(max_size=60) | st.text("ab:[]{}&*!<>-#|\n \t'\"%@`", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_in_a_line(folder, content):
    (folder / "any.yaml").write_bytes(content)
    for read in (configs.load, classes.load_groups):
        with pytest.raises(InputError, match="any.yaml") as error:
            assert read(folder / "any.yaml") == {} and content
            raise InputError("any.yaml: an empty mapping")
        assert "\n" not in str(error.value)


@given(st.data(), st.lists(st.text("abx_", min_size=1, max_size=3), min_size=1, max_size=6, unique=True))
def test_groups_of_classes_share_the_teachers_among_the_students(data, teacher):
    student = data.draw(st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, unique=True))
    patterns = st.lists(st.sampled_from(["*", "a*", *teacher]), max_size=3)
    groups = {name: data.draw(patterns) for name in [*student, classes.IGNORED]}
    try:
        found = classes.resolve(groups, student, teacher)
    except InputError as error:
        assert str(error).startswith("class groups")
        return
    members = [name for group in found.values() for name in group]
    assert list(found) == student and all(found.values()) and len(members) == len(set(members)) <= len(teacher)
    labels = classes.with_groups({"type": "simple", "value": student}, {"type": "simple", "value": teacher}, groups)
    columns = classes.columns_of(labels)
    assert [[teacher[i] for i in of] for of in columns] == list(found.values())
