"""Writing tables of jets a part at a time, to parquet or ROOT."""

import contextlib

import awkward as ak
import numpy as np

from kd_trainer.errors import InputError
from kd_trainer.evaluate.output import replacing

FORMATS = (".parquet", ".root")


@contextlib.contextmanager
def writer(path):
    """Yield a function that appends awkward records to a file, which appears when the block ends well."""
    with replacing(path) as temporary:
        open_file = _parquet if path.suffix == ".parquet" else _root
        with open_file(temporary) as append:
            yield append


@contextlib.contextmanager
def _parquet(path):
    import pyarrow.parquet

    files = []

    def append(records):
        table = ak.to_arrow_table(records, extensionarray=False)
        if not files:
            files.append(pyarrow.parquet.ParquetWriter(path, table.schema))
        files[0].write_table(table)

    try:
        yield append
    finally:
        for file in files:
            file.close()


@contextlib.contextmanager
def _root(path):
    import uproot

    with uproot.recreate(path) as file:
        trees = []

        def append(records):
            columns = {name: _plain(records[name], name) for name in records.fields}
            if not trees:
                trees.append(file.mktree("Events", {name: column.type.content for name, column in columns.items()}))
            trees[0].extend(columns)

        yield append


def _plain(array, name):
    """Without the option types of parquet columns, which ROOT does not know."""

    def visit(layout, **_):
        if not layout.is_option:
            return None
        if np.any(np.asarray(layout.mask_as_bool(valid_when=False))):
            raise InputError(f"{name} has missing values, which a ROOT file cannot hold: write parquet")
        return ak.transform(visit, layout.project(), highlevel=False)

    return ak.to_packed(ak.transform(visit, array))
