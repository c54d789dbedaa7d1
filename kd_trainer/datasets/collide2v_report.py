"""Table of a COLLIDE-2V conversion: jets that were matched, left out and written, by process."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import tabulate


def report(found: Iterable[Mapping[str, Any]]) -> str:
    """Table of the jets that were matched, left out and written, by process, from the dicts of `Views.finish`."""
    processes: dict[str, Counter[str]] = {}
    distances: Counter[str] = Counter()
    for file in found:
        processes.setdefault(file["process"], Counter()).update(file["counts"])
        distances[file["process"]] += file["distance"]
    rows = [
        {
            "process": name,
            "events": n["events"],
            "L1 jets": n["l1_jets"],
            "unmatched": _part(n["l1_jets"] - n["matched"], n["l1_jets"]),
            "offline jets": n["jets"],
            "unmatched ": _part(n["jets"] - n["matched"], n["jets"]),
            "mean Delta R": f"{distances[name] / n['matched']:.3f}",
            "no candidates": _part(n["empty"], n["matched"]),
            "no class": _part(n["classless"], n["matched"]),
            "no truth": _part(n["without_truth"], n["matched"]),
            "written": n["matched"] - n["empty"] - n["classless"] - n["without_truth"],
        }
        for name, n in sorted(processes.items())
    ]
    return tabulate.tabulate(rows, headers="keys")


def _part(number: float, of: float) -> str:
    return f"{100 * number / of:.1f} %" if of else "-"
