"""LHC jets of hls4ml with up to 150 particles (zenodo 3602260): gluon, light quark, W, Z, top.

This reader follows descriptions of the files and other programs that read them. It was not tested on the original
files.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import numpy as np

from kd_trainer.datasets.public_formats import Opened, blocks, refuse, rows_of

WANTED = {
    "jets": ((59,), slice(53, 58)),  # g, q, W, Z, t: exactly one of them is 1
    "jetConstituentList": ((None, 16), slice(0, 6)),  # px, py, pz, e, erel, pt
}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open an HDF5 file with the arrays jets (N, 59) and jetConstituentList (N, P, 16), padded with zeros.

    Yields
    ------
    (int, function)
        Rows are records px, py, pz, energy (variable) in GeV, label: 0 to 4 for g, q, W, Z, t.
    """
    with blocks(path, WANTED) as (total, read):

        def chunks(step: int) -> Iterator[ak.Array]:
            for start, arrays in read(step):
                classes = arrays["jets"]
                refuse(path, (np.sort(classes, axis=1) != [0, 0, 0, 0, 1]).any(axis=1), start, "no single class")
                px, py, pz, energy, _, pt = np.moveaxis(arrays["jetConstituentList"].astype(np.float64), 2, 0)
                with np.errstate(all="ignore"):  # NaN is checked later
                    odd = abs(np.hypot(px, py) - pt) > 1e-2 * abs(pt) + 1e-3
                refuse(path, odd, start, "particles whose pt does not agree with px and py (wrong columns)")
                momenta = {"px": px, "py": py, "pz": pz, "energy": energy}
                yield rows_of(momenta, energy != 0, {"label": classes.argmax(axis=1)})

        yield total, chunks
