"""The folder of a converted model, and the check that its files belong together.

model.onnx         the network, from weaver's exporter; model_static.onnx, model_int8.onnx: made from it
preprocess.json    the student's inputs, from weaver's exporter; `python -m kd_trainer deploy` adds `pad_mode`
data_config.yaml   the student's data config, because preprocess.json has no new_variables
deploy.json        network, options and weights from which the model was made
quantised.json     accuracy and speed of model_int8.onnx
SHA256SUMS         checksums of all these files for `sha256sum --check`; they are compared before a file is used
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weaver.utils.dataset import DataConfig

from kd_trainer import configs
from kd_trainer.classes import names_of
from kd_trainer.deploy.inputs import input_view
from kd_trainer.digests import sha256
from kd_trainer.errors import InputError
from kd_trainer.files import replacing, write_text, writing

MODEL, PREPROCESS, CONFIG, SOURCE = "model.onnx", "preprocess.json", "data_config.yaml", "deploy.json"
STATIC, INT8, QUANTISED = "model_static.onnx", "model_int8.onnx", "quantised.json"
SUMS = "SHA256SUMS"
FINGERPRINT = "preprocess_sha256"  # key in the metadata of the model


class Exported(NamedTuple):
    """Everything about a converted model except the network itself."""

    folder: Path
    options: dict[str, Any]  # of the student's data config
    config: DataConfig  # of the inputs alone
    preprocess: dict[str, Any]
    source: dict[str, Any]  # network, options, weights; empty if not known
    classes: list[str] | None  # names of the classes in weaver; None if not known


def read(folder: str | Path) -> Exported:
    """Read a folder of a converted model.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind, or if preprocess.json does not belong to data_config.yaml.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no model directory {folder}")
    if not (folder / PREPROCESS).is_file():
        raise InputError(f"{folder} has no {PREPROCESS}: export the model with weaver (./train_kd.sh convert)")
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} has no {CONFIG}, the student's data config: python -m kd_trainer deploy writes it")
    preprocess = read_json(folder / PREPROCESS)
    options = configs.load(folder / CONFIG)
    source = read_json(folder / SOURCE) if (folder / SOURCE).is_file() else {}
    check_preprocess(preprocess, options, folder)
    for name in (PREPROCESS, CONFIG, SOURCE):
        verify(folder / name)
    return Exported(folder, options, input_view(options), preprocess, source, class_names(options, source))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not what weaver's exporter writes: it holds no JSON object")
    return content


def class_names(options: Mapping[str, Any], source: Mapping[str, Any]) -> list[str] | None:
    """Names of the K classes from the data config. If it has none, numbers, with K from the options of the network."""
    told = source.get("options", {})
    number = told.get("num_classes") if isinstance(told, dict) else told
    if number is not None and not isinstance(number, int):
        raise InputError(f"{SOURCE}: `options` has to be a mapping, and its num_classes a number")
    return names_of(options["labels"]) or ([str(i) for i in range(number)] if number else None)


def expected_preprocess(options: Mapping[str, Any]) -> dict[str, Any]:
    """What weaver's exporter writes for a data config, with the padding of each group."""
    config = DataConfig(print_info=False, **{**options, "weights": None})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PREPROCESS)
        with writing(path):
            config.export_json(path)
        content = read_json(path)
    for name, variables in config.input_dicts.items():
        content[name]["pad_mode"] = config.preprocess_params[variables[0]]["pad_mode"]
    return content


def check_preprocess(found: Mapping[str, Any], options: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError with the first difference if preprocess.json does not belong to the data config."""
    expected = expected_preprocess(options)
    for key, value in expected.items():
        theirs = found.get(key)
        if isinstance(value, dict) and isinstance(theirs, dict):
            theirs = {"pad_mode": value["pad_mode"], **theirs} if "pad_mode" in value else theirs
        if theirs != value:
            raise InputError(f"{folder}: {PREPROCESS} and {CONFIG} do not belong together: `{key}` differs")


def recorded(folder: Path) -> dict[str, str]:
    """Recorded SHA-256 of the files in a folder, by name; empty if there is no record."""
    path = folder / SUMS
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def record(folder: Path, *names: str) -> None:
    """Record the checksums of files that were just written; the other records are kept."""
    found = recorded(folder) | {name: sha256(folder / name) for name in names}
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items())))


def verify(path: Path) -> None:
    """Raise InputError if a file does not have its recorded checksum."""
    expected = recorded(path.parent).get(path.name)
    if expected and path.is_file() and sha256(path) != expected:
        raise InputError(
            f"{path} is damaged or was changed: its SHA-256 is not that in {SUMS} beside it; "
            "copy the folder again, or export the model again (./train_kd.sh convert)"
        )


def sign(folder: Path, path: Path) -> None:
    """Write the SHA-256 of preprocess.json into the metadata of a model file."""
    import onnx

    model = onnx.load(path)
    others = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**others, FINGERPRINT: sha256(folder / PREPROCESS)})
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def check_model(session: Any, path: str | Path, exported: Exported) -> None:
    """Raise InputError unless a model takes the inputs of preprocess.json and gives a score for each class."""
    wrong = f"{path} and {PREPROCESS} do not belong together"
    for x in session.get_inputs():
        if x.name not in exported.config.input_shapes:
            known = ", ".join(exported.config.input_names)
            raise InputError(f"{wrong}: the model needs {x.name}, the file has {known}")
        shape = [n for n in exported.config.input_shapes[x.name][1:] if n is not None]
        if any(isinstance(n, int) and n != m for n, m in zip(x.shape[1:], shape)):
            raise InputError(f"{wrong}: {x.name} is {x.shape[1:]} in the model, {shape} in the file")
    shape = session.get_outputs()[0].shape
    if len(shape) != 2:
        raise InputError(f"{wrong}: the model gives {shape}, not (N, K) scores")
    width = shape[1]
    if exported.classes and isinstance(width, int) and width < len(exported.classes):
        raise InputError(f"{wrong}: the model gives {width} scores, the file has {len(exported.classes)} classes")
    made_with = session.get_modelmeta().custom_metadata_map.get(FINGERPRINT)
    if made_with and made_with != sha256(exported.folder / PREPROCESS):
        raise InputError(f"{wrong}: the model was exported with another {PREPROCESS} (SHA-256 {made_with[:12]}...)")
