"""AspenOpenJets: CMS jets without labels (arXiv 2412.10504), converted to the columns of JetClass-II.

Momenta are multiplied by the PUPPI weights. Particles of weight 0 are dropped, the others are sorted by pT, and the jet
axis is that of their sum. Impact parameters are in mm with the sign convention of Delphes. The conventions for d0,
units and missing values are taken from the producer's code and from other programs that read the files. This reader was
not tested on the original files.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import directions, wrap
from kd_trainer.datasets.layouts import kinds, records
from kd_trainer.datasets.public_formats import Opened, blocks, refuse, rows_of
from kd_trainer.errors import InputError

WANTED = {
    "jet_kinematics": ((4,), slice(None)),  # pt, eta, phi, soft-drop mass
    "PFCands": ((None, 11), slice(None)),
    "jet_tagging": ((13,), slice(1, 5)),  # tau1 to tau4
}
MOMENTUM = ("px", "py", "pz", "energy")
TRACK = ("d0val", "d0err", "dzval", "dzerr")
TO_DELPHES = {"d0val": -10.0, "d0err": 10.0, "dzval": 10.0, "dzerr": 10.0}  # cm to mm; d0 with the opposite sign
CHARGED, NEUTRAL, PHOTONS = (211,), (130, 1), (22, 2)  # 1 and 2: forward calorimeter, hadronic and electromagnetic
IDS = (*CHARGED, *NEUTRAL, *PHOTONS, 11, 13)
AXIS = 0.1  # largest median Delta R between the axis of the summed particles and that of the stored jet


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open an HDF5 file with jet_kinematics (N, 4), PFCands (N, P, 11), jet_tagging (N, 13), padded with zeros.

    Yields
    ------
    (int, function)
        Rows are records px, py, pz, energy (variable; GeV, weighted), d0val, d0err, dzval, dzerr (mm), charge, pid,
        and jet_sdmass, jet_tau1 to jet_tau4.
    """
    with blocks(path, WANTED) as (total, read):

        def chunks(step: int) -> Iterator[ak.Array]:
            for start, arrays in read(step):
                values = arrays["PFCands"].astype(np.float64)
                refuse(path, ~np.isfinite(values), start, "NaN or infinity in PFCands")
                weight = values[..., 10]
                beyond = (weight < 0) | (weight > 1.001)
                refuse(path, beyond, start, "PUPPI weights (column 10 of PFCands) outside [0, 1]")
                real = (weight > 0) & (values[..., 3] != 0)
                refuse(path, real & ~np.isin(abs(values[..., 9]), IDS), start, "unknown PDG ids (column 9 of PFCands)")
                columns = {name: values[..., i] * weight for i, name in enumerate(MOMENTUM)}
                missing = (values[..., 4:8] == -1).all(axis=2)  # no track parameters
                for i, name in enumerate(TRACK, start=4):
                    columns[name] = np.where(missing, 0, values[..., i] * TO_DELPHES[name])
                columns |= {"charge": values[..., 8], "pid": values[..., 9]}
                _check_axes(path, columns, arrays["jet_kinematics"].astype(np.float64), real.any(axis=1))
                jet = {f"jet_tau{i}": tau for i, tau in enumerate(arrays["jet_tagging"].T, start=1)}
                yield rows_of(columns, real, {"jet_sdmass": arrays["jet_kinematics"][:, 3], **jet})

        yield total, chunks


def _check_axes(path: Path, columns: dict[str, np.ndarray], jets: np.ndarray, some: np.ndarray) -> None:
    """Raise InputError if the weighted particles do not add up to the jets (N, 4): columns or units differ."""
    _, eta, phi = directions({name: columns[name].sum(axis=1)[some] for name in MOMENTUM})
    distance = np.hypot(eta - jets[some, 1], wrap(phi - jets[some, 2]))
    if some.any() and not np.median(distance) < AXIS:
        raise InputError(
            f"{path} has particles that do not add up to their jets: the median distance of the axes is Delta R = "
            f"{np.median(distance):.2g}"
        )


def jets(rows: ak.Array) -> ak.Array:
    """Convert rows of `opened` to an awkward array of jets with the columns of JetClass-II, without the label."""
    order = ak.argsort(np.hypot(rows.px, rows.py), axis=1, ascending=False, stable=True)
    parts = {name: rows[name][order] for name in (*MOMENTUM, *TRACK, "charge", "pid")}
    columns = {f"part_{name}": ak.values_astype(parts[name], np.float32) for name in TRACK}
    columns["part_charge"] = ak.values_astype(parts["charge"], np.int32)
    columns |= {f"part_is{name}": flags for name, flags in kinds(parts["pid"], CHARGED, NEUTRAL, PHOTONS).items()}
    columns |= {name: ak.values_astype(rows[name], np.float32) for name in rows.fields if name.startswith("jet_")}
    return records({name: parts[name] for name in MOMENTUM}, columns)
