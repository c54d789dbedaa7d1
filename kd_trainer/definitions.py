"""What the variables of a data config are computed from."""

import graphlib
from collections.abc import Iterable, Mapping
from typing import Any

from weaver.utils.data.eval_utils import _get_data_var_names


def needed_by(names: Iterable[str], definitions: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The definitions that variables depend on, their own included, and the branches: names of both."""
    needed, branches, todo = set(), set(), list(names)
    while todo:
        name = todo.pop()
        if name not in definitions:
            branches.add(name)
        elif name not in needed:
            needed.add(name)
            todo += _get_data_var_names(str(definitions[name]))
    return needed, branches


def circle_in(definitions: Mapping[str, Any]) -> list[str]:
    """Names of definitions that need each other in a circle, from the first back to the first; empty without one."""
    graph = {k: [v for v in _get_data_var_names(str(text)) if v in definitions] for k, text in definitions.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]
    return []
