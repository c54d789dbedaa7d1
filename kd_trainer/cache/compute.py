"""From input files to files of soft targets."""

import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.cache import fingerprint
from kd_trainer.cache.reader import ahead
from kd_trainer.cache.writer import FULL, Writer, whole_file
from kd_trainer.errors import InputError, StopError

JETS = 4096  # that are read and sorted together


def write(path, output, rows, *, reader, teacher, layout, made, device, progress=lambda jets: None):
    """Write the soft targets of one input file.

    Parameters
    ----------
    path : str
    output : Path
    rows : int
        Jets in the input file.
    reader : Reader
    teacher : Teacher
    layout : Layout
    made : dict
        The fingerprint, but for the input file.
    device : torch.device
    progress : callable of a number of jets

    Returns
    -------
    int
        Number of jets written.

    Raises
    ------
    InputError
        If the file cannot be read, has no jets that pass the selection, or changes while it is read.
    """
    before = fingerprint.of_input(path)
    read = selected = 0
    with whole_file(output) as file:
        with Writer(file, {**made, "input": before}) as writer:
            for chunk in ahead(reader.read(path, JETS)):
                read += chunk.rows
                if chunk.table is not None:
                    table = chunk.table
                    for name, column in layout.columns(teacher(chunk.X, device).logits.cpu()).items():
                        table = table.append_column(pa.field(name, column.type, nullable=False), column)
                    selected += len(chunk.table)
                    writer.write(table)
                progress(chunk.rows)
        if fingerprint.of_input(path) != before:
            raise InputError(f"{path} changed while it was read")
        if not selected:
            raise InputError(f"{path} has no jets that pass the selection ({read} read)")
        written = pq.read_metadata(file.name).num_rows
        if read != rows or written != selected:
            raise InputError(f"{path}: {read} of {rows} jets were read, {written} of {selected} selected ones written")
    return selected


def is_complete(path, output, made, *, overwrite=False):
    """Whether the soft targets of an input file are there.

    Raises
    ------
    InputError
        If they were made from something else, unless those are to be overwritten.
    """
    if not output.exists():
        return False
    try:
        different = fingerprint.serious(fingerprint.read(output), {**made, "input": fingerprint.of_input(path)})
        if different:
            raise InputError(f"{output} was made from something else ({'; '.join(different)})")
    except InputError as error:
        if overwrite:
            return False
        raise InputError(f"{error}; give --overwrite to replace such files, or another --output") from None
    return True


def write_all(work, rows, *, bar, **how):
    """Write many files; those that cannot be written because of their input do not stop the others.

    Parameters
    ----------
    work : dict of path -> output
    rows : dict of path -> number of jets
    bar : tqdm
    how : see `write`

    Returns
    -------
    int, list of str
        Number of jets written, and what is wrong with the files left out.
    """
    jets, trouble = 0, []
    for path, output in work.items():
        try:
            jets += write(path, output, rows[path], progress=bar.update, **how)
        except StopError:
            raise
        except InputError as error:
            trouble.append(str(error))
        except OSError as error:
            if error.errno in FULL:
                raise InputError(f"{output} cannot be written: the disk is full (complete files are kept)") from None
            raise InputError(f"{output} cannot be written: {error.strerror or error}") from None
    return jets, trouble
