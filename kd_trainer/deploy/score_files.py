"""Writing tables of jets a part at a time, to parquet or ROOT."""

import contextlib

import awkward as ak
import numpy as np

from kd_trainer.errors import InputError, one_line
from kd_trainer.files import replacing

FORMATS = (".parquet", ".root")


@contextlib.contextmanager
def writer(path):
    """Yield a function that appends awkward records to a file, which appears when the block ends well.

    The first records decide the types of the columns. Later ones are cast to them in parquet, where no value is lost
    by it, and have to have the same in ROOT, else the function raises InputError.
    """
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
        files[0].write_table(_cast(table, files[0].schema))

    try:
        yield append
    finally:
        for file in files:
            file.close()


def _cast(table, schema):
    """The table with the types of a schema that has the same columns."""
    import pyarrow

    columns = []
    for field in schema:
        column = table[field.name]
        try:
            columns.append(column.cast(field.type))
        except pyarrow.ArrowException as error:
            both = f"{field.name} is {column.type}, which does not fit the {field.type} of the files before"
            raise InputError(f"{both}: {one_line(error)}") from None
        if column.null_count and not field.nullable:
            raise InputError(f"{field.name} has missing values, unlike in the files before")
    return pyarrow.table(columns, schema=schema)


@contextlib.contextmanager
def _root(path):
    import uproot

    with uproot.recreate(path) as file:
        trees, types = [], {}

        def append(records):
            columns = {name: _plain(records[name], name) for name in records.fields}
            if not trees:
                types.update({name: column.type.content for name, column in columns.items()})
                trees.append(file.mktree("Events", types))
            for name, column in columns.items():
                if column.type.content != types[name]:
                    raise InputError(f"{name} is {column.type.content}, and {types[name]} in the files before")
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
