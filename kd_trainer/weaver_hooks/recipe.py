"""The recipe of a training: everything that decides its result. Compared before resuming, saved with the result."""

import argparse
import glob
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from weaver.utils.data.config import _md5

from kd_trainer.digests import canonical, differences, of_network, sha256
from kd_trainer.weaver_hooks import seeds
from kd_trainer.weaver_hooks.hook import as_list

LEFT_OUT = {
    # arguments of weaver without effect on the checkpoint
    "log", "print", "profile", "io_test", "lr_finder", "tensorboard", "tensorboard_custom_fn", "model_prefix",
    "gpus", "predict_gpus", "backend", "local_rank", "prefetch_factor", "copy_inputs", "auto_clean", "compiler_option",
    "predict", "predict_output", "export_onnx", "onnx_opset", "cross_validation", "_auto_model_name",
    "data_test", "data_config_test", "extra_selection_test", "batch_size_test",
    # arguments that name files whose content counts
    "data_config", "data_config_val", "data_train", "data_val", "network_config", "network_option", "run_mode",
    "load_model_weights", "custom_functions",
}  # fmt: skip
NO_PART = ("restart", "allow_missing_classes")  # options without effect on the checkpoint


def recipe_of(args: argparse.Namespace, options: dict[str, Any], patterns: Mapping[str, str]) -> dict[str, Any]:
    """The recipe by name: weaver's arguments, the options of the network file, and the files that they name.

    `patterns` are the options that name data files: {name: suffix that makes a file pattern}.
    """
    of_files = {
        f"-o {name}": [f"{value}{end}" for value in as_list(options[name])]
        for name, end in patterns.items()
        if options.get(name)
    }
    options = {name: value for name, value in options.items() if f"-o {name}" not in of_files}
    recipe = {name: value for name, value in vars(args).items() if name not in LEFT_OUT}
    recipe["run_mode"] = [step for step in args.run_mode if step in ("train", "val")]
    recipe["processes"] = seeds.world_size()
    recipe |= {f"-o {name}": value for name, value in options.items() if name not in NO_PART}
    weights = args.load_model_weights or ""
    if weights:
        recipe["load_model_weights"] = weights
    files = [args.network_config]
    files += _files_in([*options.values(), args.custom_functions, weights, weights.split(":")[0]])
    recipe |= {f"content of {path}": of_network(path) if path.endswith(".py") else sha256(path) for path in files}
    for name in ("data_config", "data_config_val"):
        recipe[f"content of {name}"] = _of_data_config(getattr(args, name))
    for name, found in {"data_train": args.data_train, "data_val": args.data_val, **of_files}.items():
        recipe[f"files of {name}"] = _of_files(found)
    return json.loads(canonical(recipe))


def _files_in(value: object) -> list[str]:
    """All files that options name."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [path for item in value for path in _files_in(item)]
    return [value] if isinstance(value, str) and os.path.isfile(value) else []


def _of_data_config(path: str) -> str:
    """SHA-256 of the content of a data config, with the values that weaver has computed for it."""
    derived = path.replace(".yaml", f".{_md5(path)}.auto.yaml")
    found = derived if ".auto.yaml" not in path and os.path.exists(derived) else path
    content = yaml.safe_load(Path(found).read_text(encoding="utf-8"))
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _of_files(patterns: list[str]) -> str:
    """'10 files (hash of their names, sizes and times)'."""
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern.split(":")[-1]))
    found = [(path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths]
    return f"{len(found)} files ({hashlib.sha256(canonical(found).encode()).hexdigest()[:12]})"


def changes(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The differences between two recipes in a few words, '' if there are none: 'start_lr was 0.005, now 0.01'."""
    texts = list(differences(found, {**dict.fromkeys(found), **wanted}, now="now").values())
    return "; ".join(texts[:3]) + (f" (and {len(texts) - 3} more)" if len(texts) > 3 else "")
