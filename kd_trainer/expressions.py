"""Check of the expressions in a data config, which weaver evaluates as Python code.

Allowed are numbers, branches, arithmetic, comparisons, indexing, and functions that compute something from arrays.
All other Python code is forbidden, and so are functions of numpy and awkward that read or write files, unpickle, or
call a function that they get as argument.
"""

import ast
import math
from collections.abc import Iterator, Mapping
from typing import Any

import awkward as ak
import numpy as np
from weaver.utils.data.eval_utils import _eval_funcs

from kd_trainer.arguments import is_trusted
from kd_trainer.errors import InputError, one_line


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


NODES = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.keyword,
    ast.Tuple, ast.List, ast.Dict, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
NUMPY = _words(
    "all allclose amax amin angle any append arange argmax argmin argsort argwhere around array array_equal",
    "asarray atleast_1d atleast_2d average bincount broadcast_to clip column_stack concatenate copy count_nonzero",
    "cross cumprod cumsum diff digitize dot einsum expand_dims flatnonzero flip full full_like histogram hstack",
    "imag interp isclose isin linspace logspace max mean median min moveaxis nan_to_num nanmax nanmean nanmedian",
    "nanmin nanstd nansum ndim nonzero ones ones_like outer percentile prod quantile ravel real repeat reshape",
    "roll round searchsorted select shape size sort split squeeze stack std sum swapaxes take take_along_axis",
    "tile trace transpose tril triu unique unwrap var vstack where zeros zeros_like",
)
NUMPY_OF_PYTHON = _words("abs all any max min round sum")  # weaver takes these names for branches
UFUNC = _words("reduce accumulate reduceat outer")
AWKWARD = _words(
    "all almost_equal any argcartesian argcombinations argmax argmin argsort array_equal broadcast_arrays",
    "cartesian combinations concatenate corr count count_nonzero covar drop_none fill_none firsts flatten",
    "from_iter from_numpy from_regular full_like is_none isclose linear_fit local_index mask max mean",
    "merge_option_of_records merge_union_of_records min moment nan_to_none nan_to_num nanargmax nanargmin nanmax",
    "nanmean nanmin nanprod nanstd nansum nanvar num ones_like pad_none prod ptp ravel run_lengths singletons",
    "softmax sort std strings_astype sum to_list to_numpy to_packed to_regular unflatten unzip values_astype var",
    "where with_field with_name without_field zeros_like zip",
)
# members of arrays; other names are taken as fields, and as methods of four-vectors
MEMBERS = _words(
    "T all any argmax argmin argsort astype clip copy cumprod cumsum dot fields flatten imag item max mean min",
    "ndim nonzero prod ravel real repeat reshape round shape size sort squeeze std sum swapaxes take tolist",
    "to_list to_numpy trace transpose var",
)
KINDS = (np.ndarray, np.generic, ak.Array, ak.Record, str, bytes, tuple, list, dict, int, float, complex)
MODULES = {"np": np, "numpy": np, "ak": ak, "awkward": ak, "math": math}


def check(options: Mapping[str, Any], path: object) -> None:
    """Raise InputError for a forbidden expression in the options of the data config `path`, unless it is trusted."""
    if is_trusted():
        return
    for place, expression in _expressions(options):
        trouble = refused(expression)
        if trouble:
            raise InputError(
                f"{path}: `{place}` is {one_line(expression)!r}, and {trouble} is not allowed, because weaver executes "
                "the expressions of a data config; if you trust this one, give --trust or set KD_TRUST=1"
            )


def _expressions(options: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """(place, expression) of all entries of a data config that weaver evaluates."""
    sections = {key: options.get(key) for key in ("selection", "test_time_selection", "new_variables")}
    labels, weights = options.get("labels"), options.get("weights")
    if isinstance(labels, Mapping):
        sections["labels"], teacher = labels.get("value"), labels.get("teacher")
        sections["labels of the teacher"] = teacher.get("value") if isinstance(teacher, Mapping) else None
    if isinstance(weights, Mapping):
        sections |= {key: weights.get(key) for key in ("weight_branches", "reweight_basewgt")}
    for place, content in sections.items():
        if isinstance(content, Mapping):
            yield from ((f"{place}: {name}", expression) for name, expression in content.items())
        elif isinstance(content, list | tuple):
            yield from ((place, expression) for expression in content)
        else:
            yield place, content


def refused(expression: object) -> str:
    """The forbidden part of an expression, in words; '' if there is none."""
    if expression is None or isinstance(expression, int | float):
        return ""
    if not isinstance(expression, str):
        return f"a {type(expression).__name__}"
    if "#" in expression:  # weaver joins expressions, and a comment would hide the beginning of the next one
        return "a comment"
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "an expression that Python cannot parse"
    nodes = list(ast.walk(tree))
    heads = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}  # of `np.log`: np
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return next(filter(None, (_trouble(node, heads, called) for node in nodes)), "")


def _trouble(node: ast.AST, heads: set[int], called: set[int]) -> str:
    """What is wrong with a node itself, without its children; '' if nothing is."""
    if not isinstance(node, NODES):
        return f"a {type(node).__name__}"
    if isinstance(node, ast.Name):
        return _trouble_of_name(node, heads, called)
    if isinstance(node, ast.Attribute):
        before = node.value.id if isinstance(node.value, ast.Name) else ""
        return "" if _is_member(node) else f"`{before}.{node.attr}`"
    if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name | ast.Attribute):
        return "a call of something other than a name"
    if (isinstance(node, ast.keyword) and node.arg is None) or (isinstance(node, ast.Dict) and None in node.keys):
        return "`**`"
    return ""


def _trouble_of_name(node: ast.Name, heads: set[int], called: set[int]) -> str:
    """What is wrong with a name: modules must stand before a dot, functions of weaver before parentheses."""
    if node.id in MODULES:
        fine = id(node) in heads
    elif node.id in _eval_funcs:
        fine = id(node) in called
    else:
        fine = id(node) not in called and not node.id.startswith("_")
    if not fine and node.id in NUMPY_OF_PYTHON:
        return f"`{node.id}`, which is `np.{node.id}` here,"
    return "" if fine else f"`{node.id}`"


def _is_member(node: ast.Attribute) -> bool:
    """Whether an attribute is allowed."""
    name, value = node.attr, node.value
    if name.startswith("_"):
        return False
    if isinstance(value, ast.Name) and value.id in MODULES:
        return _is_function(MODULES[value.id], name)
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id in MODULES:
        return isinstance(getattr(MODULES[value.value.id], value.attr, None), np.ufunc) and name in UFUNC
    return name in MEMBERS or not any(hasattr(kind, name) for kind in KINDS)


def _is_function(module: object, name: str) -> bool:
    """Whether a name of a module is an allowed function or a number."""
    if module is math:
        return hasattr(math, name)
    if module is ak:
        return name in AWKWARD
    found = getattr(np, name, np)
    numbers = isinstance(found, type) and issubclass(found, np.generic)
    return name in NUMPY or numbers or found is None or isinstance(found, np.ufunc | float)
