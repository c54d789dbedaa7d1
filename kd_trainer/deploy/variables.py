"""python -m kd_trainer variables: write the variables of jets as text for programs in other languages.

The first line holds the names of the variables, in the order of preprocess.json. For each jet there is one line with
the number n of its particles, and n lines with the variables of each particle; variables with one number per jet are
repeated in each line. Nine digits keep single precision exactly.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import awkward as ak
import numpy as np
from weaver.utils.dataset import DataConfig

from kd_trainer.deploy.inputs import variables
from kd_trainer.deploy.model_dir import read
from kd_trainer.deploy.reading import check_files, read_chunks
from kd_trainer.errors import InputError, named
from kd_trainer.files import replacing
from kd_trainer.jet_files import files_of


def names_of(config: DataConfig) -> list[str]:
    """All variables of the inputs, each once, in the order of the groups."""
    return list(dict.fromkeys(name for names in config.input_dicts.values() for name in names))


def write_jets(file: TextIO, table: ak.Array, names: Sequence[str]) -> None:
    """Append the jets of a table in the format above."""
    columns = [ak.values_astype(table[name], "float32") for name in names]
    columns = ak.broadcast_arrays(*columns)
    counts = ak.to_numpy(ak.num(columns[0], axis=1))
    numbers = np.stack([ak.to_numpy(ak.flatten(column)) for column in columns], axis=1)  # (particles, variables)
    start = 0
    for count in counts:
        file.write(f"{count}\n")
        np.savetxt(file, numbers[start : start + count], fmt="%.9g")
        start += count


def main(argv: Sequence[str]) -> None:
    """Write the variables of all jets of some files."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer variables",
        description="Write the input variables of a converted model before standardisation as text, for C++ programs.",
    )
    parser.add_argument("model_dir", metavar="MODEL_DIR")
    parser.add_argument("files", nargs="+", metavar="FILE", help="jets: ROOT or parquet")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="TXT")
    args = parser.parse_args(argv)
    config = read(args.model_dir).config
    names = names_of(config)
    if len({config.preprocess_params[name]["length"] for name in names}) > 1:
        raise InputError("the input groups differ in length: this file format has one list of particles per jet")
    files = files_of(args.files)
    jets = check_files(files, config)
    with replacing(args.output) as temporary, open(temporary, "w", encoding="ascii") as file:
        file.write(" ".join(names) + "\n")
        for path in files:
            for events in read_chunks(path, config, 20_000):
                with named(path):
                    table, _ = variables(events, config)
                write_jets(file, table, names)
    print(f"{args.output}: {jets} jets, {len(names)} variables")
