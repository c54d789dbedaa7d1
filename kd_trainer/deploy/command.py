"""python -m kd_trainer deploy: complete the folder of weaver's exporter, and compare the model with its network."""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kd_trainer import configs
from kd_trainer.arguments import check_at_least, parse_options
from kd_trainer.deploy import firmware, parity, reference, session
from kd_trainer.deploy.model_dir import (
    CONFIG,
    INT8,
    MODEL,
    PREPROCESS,
    QUANTISED,
    SOURCE,
    STATIC,
    SUMS,
    check_preprocess,
    class_names,
    expected_preprocess,
    read,
    read_json,
    record,
    sign,
)
from kd_trainer.errors import InputError
from kd_trainer.files import replacing, write_json, write_text
from kd_trainer.jet_files import files_of

DERIVED = (STATIC, INT8, QUANTISED, parity.REPORT, firmware.REPORT)


def complete(folder: str | Path, data_config: str | Path, source: dict[str, Any]) -> None:
    """Add the data config, the source and the padding to an exported model, and sign the model with them.

    The folder has model.onnx and preprocess.json of weaver's exporter, made with this data config of the student. The
    source is that of `reference.describe`. The checksums of all files are recorded.

    Raises
    ------
    InputError
        If a file is missing, if preprocess.json does not belong to the data config, or if the options of the network
        ask for an embedding that the model does not have.
    """
    folder = Path(folder)
    for name in (MODEL, PREPROCESS):
        if not (folder / name).is_file():
            raise InputError(f"there is no {folder / name}: export the model with weaver first (--export-onnx)")
    (folder / SUMS).unlink(missing_ok=True)  # checksums of an earlier model
    options = configs.load(data_config)
    found = read_json(folder / PREPROCESS)
    check_preprocess(found, options, folder)
    check_embedding(folder / MODEL, source, class_names(options, source))
    groups = {k: v for k, v in expected_preprocess(options).items() if isinstance(v, dict)}
    write_json(folder / PREPROCESS, {k: {**v, **groups[k]} if k in groups else v for k, v in found.items()})
    text = yaml.safe_dump({**options, "weights": None}, sort_keys=False)
    write_text(folder / CONFIG, f"# {data_config}, without sampling weights; made by kd_trainer deploy\n{text}")
    write_json(folder / SOURCE, source)
    for name in DERIVED:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / firmware.PROJECT, ignore_errors=True)
    sign(folder, folder / MODEL)
    record(folder, MODEL, PREPROCESS, CONFIG, SOURCE)


def check_embedding(path: str | Path, source: Mapping[str, Any], classes: Sequence[str] | None) -> None:
    """Raise InputError if the model lacks an embedding that the options ask for."""
    width = session.open_session(path).get_outputs()[0].shape[-1]
    if source["options"].get("export_embed") and classes and isinstance(width, int) and width <= len(classes):
        raise InputError(f"{source['network']} does not know export_embed: export the model without that option")


def export_static(folder: str | Path, jets: int) -> Path:
    """Write model_static.onnx for a fixed batch of `jets` jets and the number of particles of the data config."""
    import torch

    exported = read(folder)
    model, info = reference.load(exported.source, exported.options)
    inputs = tuple(torch.ones(jets, *info["input_shapes"][name][1:]) for name in info["input_names"])
    path = exported.folder / STATIC
    with replacing(path) as temporary:
        torch.onnx.export(model, inputs, temporary, input_names=info["input_names"],
                          output_names=info["output_names"], opset_version=15, dynamo=False)  # fmt: skip
    sign(exported.folder, path)
    record(exported.folder, STATIC)
    return path


def main(argv: Sequence[str]) -> None:
    """Complete, export the static variant, compare with torch."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer deploy",
        description="Run this after weaver's --export-onnx. It adds the data config of the student to the model, "
        "writes a variant of fixed size for triggers, and compares ONNX Runtime with torch on jets.",
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR", help="folder with model.onnx and preprocess.json")
    add("files", nargs="+", metavar="FILE", help="jets for the comparison: ROOT or parquet")
    add("--network", required=True, metavar="NET.py", help="network file of the student")
    add("-o", "--network-option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    add("--weights", required=True, metavar="STATE.pt", help="checkpoint that was exported")
    add("--data-config", required=True, metavar="CFG.yaml", help="data config of the student")
    add("--static", type=int, default=1, metavar="B", help="batch size of the static variant, 0 for none (default: 1)")
    parity.add_options(parser)
    args = parser.parse_args(argv)
    parity.check_options(args)
    check_at_least(0, args, "static")
    files = files_of(args.files)
    source = reference.describe(args.network, parse_options(args.network_option), args.weights)
    complete(args.model_dir, args.data_config, source)
    if args.static:
        print(export_static(args.model_dir, args.static))
    parity.run(args.model_dir, files, jets=args.jets, tolerance=args.tolerance)
