"""Scores of jets from a converted model: `Tagger(model_dir)(events)`."""

from pathlib import Path

import awkward as ak
import numpy as np

from kd_trainer.deploy import session as onnx
from kd_trainer.deploy.inputs import NOT_FINITE_SCORE, Jets, prepare
from kd_trainer.deploy.model_dir import MODEL, check_model, read
from kd_trainer.errors import InputError


class Tagger:
    """A converted student: it computes scores from the branches of jets.

    The network inputs are those of weaver's loader, bit for bit. A jet without a meaningful score is flagged, not left
    out; its scores are those that weaver would give. The flag is the sum of: 1, no particles (after the selection of
    the tier); 2, NaN or infinity in a branch or variable (weaver replaces NaN by 0 and infinity by a very large
    number); 4, a score that is not finite.

    Parameters
    ----------
    model_dir : path
        Folder with model.onnx, preprocess.json and data_config.yaml.
    model : str
        Another model file in it, such as model_int8.onnx.
    threads : int or None
        Of ONNX Runtime on the CPU; None for all cores. If onnxruntime-gpu is installed, the GPU is used.
    batch_size : int
        Jets at a time; a static model has a fixed batch size.

    Raises
    ------
    InputError
        If files are missing or do not belong together.
    """

    def __init__(
        self, model_dir: str | Path, *, model: str = MODEL, threads: int | None = None, batch_size: int = 1024
    ) -> None:
        self.exported = read(model_dir)
        path = self.exported.folder / model
        self.session = onnx.open_session(path, threads, gpu=True)
        check_model(self.session, path, self.exported)
        self.batch_size = batch_size

    @property
    def branches(self) -> set[str]:
        """Names of the branches that jets need."""
        return set(self.exported.config.test_load_branches)

    def prepare(self, events: ak.Array, selected: bool = False) -> Jets:
        """Network inputs of jets, see `inputs.prepare`."""
        return prepare(events, self.exported.config, selected)

    def __call__(self, events: ak.Array, selected: bool = False) -> ak.Array:
        """Scores of N jets.

        Parameters
        ----------
        events : awkward record array
            With the fields `branches`; other fields are ignored.
        selected : bool
            Leave out the jets that fail the selection of the data config.

        Returns
        -------
        awkward record array
            `score_<class>` each, `embedding` (N, D) if the model has one, `flag`.
        """
        return self.score(self.prepare(events, selected))

    def score(self, jets: Jets) -> ak.Array:
        """Scores of jets that are already prepared, see `__call__`."""
        output = onnx.run(self.session, jets.inputs, self.batch_size)
        names = self.exported.classes or [str(i) for i in range(output.shape[1])]
        if output.shape[1] < len(names):
            raise InputError(f"the model gives {output.shape[1]} scores for {len(names)} classes")
        columns = np.ascontiguousarray(output.T)
        record = {f"score_{name}": columns[i] for i, name in enumerate(names)}
        if output.shape[1] > len(names):
            record["embedding"] = np.ascontiguousarray(output[:, len(names) :])
        bad = ~np.isfinite(output).all(axis=1)
        return ak.Array({**record, "flag": (jets.flags + NOT_FINITE_SCORE * bad).astype("uint8")})
