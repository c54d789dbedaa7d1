"""python -m kd_trainer parity: does the converted model give the scores of the trained network?

The scores may differ by the tolerance, or by the rounding error of the network if that is larger: the difference
between torch in single and in double precision. This happens for ParT with massless particles: it takes the logarithm
of the mass of particle pairs, where only the rounding error is left.

For jets without particles ParT gives NaN in ONNX. In this case only finite scores have to agree; the Tagger flags such
jets.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_trainer.deploy import reference, session
from kd_trainer.deploy.edge_cases import EMPTY, edge_cases
from kd_trainer.deploy.model_dir import MODEL, STATIC, check_model, read, record
from kd_trainer.deploy.reading import read_inputs
from kd_trainer.errors import InputError
from kd_trainer.files import write_json
from kd_trainer.jet_files import files_of

REPORT = "parity.json"
TOLERANCE = 1e-5


def difference(torch_output: np.ndarray, onnx_output: np.ndarray) -> dict[str, Any]:
    """Differences of two outputs (N, K): absolute for values up to 1, relative for larger ones (only embeddings).

    Returns
    -------
    dict
        jets, largest and mean difference of the values that are finite in both; `not_finite`: number of jets with the
        same NaN or infinities in both; `disagree`: number of jets with NaN or infinities in only one of them.
    """
    finite = np.isfinite(torch_output) & np.isfinite(onnx_output)
    same = np.isfinite(torch_output) == np.isfinite(onnx_output)
    reference = torch_output[finite].astype(float)
    found = np.abs(reference - onnx_output[finite]) / np.maximum(1, np.abs(reference))
    return {
        "jets": len(torch_output),
        "max": float(found.max(initial=0)),
        "mean": float(found.mean()) if len(found) else 0.0,
        "not_finite": int((~finite & same).any(axis=1).sum()),
        "disagree": int((~same).any(axis=1).sum()),
    }


def parity(
    folder: str | Path, files: Sequence[str], *, jets: int = 1000, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Compare torch and ONNX Runtime for jets of files and for edge cases made from them.

    Parameters
    ----------
    jets : approximate number of jets to use.
    tolerance : largest difference that is accepted.

    Returns
    -------
    dict
        `models`: for each model file, the `difference` of each case; `passed`.
    """
    exported = read(folder)
    model, info = reference.load(exported.source, exported.options)
    events, prepared = read_inputs(files, exported.config, jets)
    cases = {"jets": prepared.inputs, **edge_cases(events, prepared, exported.config)}
    expected = {case: reference.outputs(model, info, inputs) for case, inputs in cases.items()}
    model.double()
    exact = {case: reference.outputs(model, info, inputs) for case, inputs in cases.items()}
    rounding = {case: difference(exact[case], expected[case])["max"] for case in cases}
    results = {}
    for path in sorted({exported.folder / MODEL, *exported.folder.glob(f"{Path(STATIC).stem}*.onnx")}):
        onnx = session.open_session(path)
        check_model(onnx, path, exported)
        results[path.name] = {
            case: difference(expected[case], session.run(onnx, inputs)) | {"rounding": rounding[case]}
            for case, inputs in cases.items()
        }
    return {
        "files": [str(path) for path in files],
        "weights": exported.source["weights"],
        "weights_sha256": exported.source["weights_sha256"],
        "tolerance": tolerance,
        "models": results,
        "passed": all(passes(case, found, tolerance) for of in results.values() for case, found in of.items()),
    }


def passes(case: str, found: Mapping[str, Any], tolerance: float) -> bool:
    """Whether a `difference` is small enough."""
    return found["max"] <= max(tolerance, found["rounding"]) and (case == EMPTY or not found["disagree"])


def report(result: Mapping[str, Any]) -> str:
    """The table of a result, as text."""
    from tabulate import tabulate

    header = ["model", "jets", "number", "largest difference", "mean difference", "rounding of torch",
              "NaN in both", "NaN in one"]  # fmt: skip
    rows = [
        [name, case, found["jets"], *(f"{found[key]:.2e}" for key in ("max", "mean", "rounding")),
         found["not_finite"], found["disagree"]]
        for name, cases in result["models"].items()
        for case, found in cases.items()
    ]  # fmt: skip
    return tabulate(rows, header, disable_numparse=True)


def run(folder: str | Path, files: Sequence[str], *, jets: int, tolerance: float) -> None:
    """Compare, print and write the report; InputError if the models differ."""
    result = parity(folder, files, jets=jets, tolerance=tolerance)
    print(report(result))
    write_json(Path(folder, REPORT), result)
    record(Path(folder), REPORT)
    if not result["passed"]:
        raise InputError(f"torch and ONNX Runtime differ by more than {tolerance:g}: see {Path(folder, REPORT)}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `parity` and `deploy` share."""
    parser.add_argument(
        "--jets", type=int, default=1000, metavar="N", help="number of jets, approximately (default: 1000)"
    )
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="X",
                        help="largest difference of a score (default: %(default)g)")  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Compare a converted model with the network that deploy.json names."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer parity",
        description="Compare the scores of torch and ONNX Runtime on the same jets, and on jets with one particle, "
        "with as many particles as the network takes, with more, and with none. It is an error if they differ.",
    )
    parser.add_argument("model_dir", metavar="MODEL_DIR")
    parser.add_argument("files", nargs="+", metavar="FILE", help="jets: ROOT or parquet")
    add_options(parser)
    args = parser.parse_args(argv)
    check_options(args)
    run(args.model_dir, files_of(args.files), jets=args.jets, tolerance=args.tolerance)


def check_options(args: argparse.Namespace) -> None:
    """Raise InputError for numbers out of range."""
    if args.jets < 1 or not args.tolerance > 0:
        raise InputError("--jets has to be at least 1, --tolerance above 0")
