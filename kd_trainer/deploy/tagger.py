"""Scores of jets from a converted model: `Tagger(model_dir)(events)`."""

from pathlib import Path

import awkward as ak
import numpy as np

from kd_trainer.deploy import session as onnx
from kd_trainer.deploy.inputs import NOT_FINITE_SCORE, Jets, prepare
from kd_trainer.deploy.model_dir import MODEL, check_model, read
from kd_trainer.errors import InputError


class Tagger:
    """A converted student: branches of jets in, scores out.

    Inputs are those of weaver's loader, bit for bit. A jet that nothing can be said about is flagged, not left out; its
    scores are those that weaver would give. The flags add up: 1, no particles (left by the selection of the tier);
    2, NaN or infinity in a branch or variable, of which weaver makes 0 (NaN) or a very large number; 4, a score that is
    not finite.

    Parameters
    ----------
    model_dir : path
        Folder with model.onnx, preprocess.json and data_config.yaml.
    model : str
        Another model file in it, such as model_int8.onnx.
    threads : int or None
        Of ONNX Runtime, on the CPU; None for all cores. With onnxruntime-gpu installed it uses the GPU.
    batch_size : int
        Jets at a time; a static model has its own.

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
            With the fields `branches`; others are not looked at.
        selected : bool
            Leave out the jets that fail the selection of the data config.

        Returns
        -------
        awkward record array
            `score_<class>` each, `embedding` (N, D) if the model has one, `flag`.
        """
        return self.score(self.prepare(events, selected))

    def score(self, jets: Jets) -> ak.Array:
        """The same for jets that are prepared already."""
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
