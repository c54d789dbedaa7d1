"""Checkpoints: which ones are refused, and the error messages."""

import json
import pickle

import pytest
import torch
from helpers import Program

from kd_trainer.checkpoints import read_weights
from kd_trainer.digests import sha256
from kd_trainer.errors import InputError


def test_weights_are_read(tmp_path):
    torch.save({"layer.weight": torch.ones(2)}, tmp_path / "net.pt")
    assert torch.equal(read_weights(tmp_path / "net.pt")["layer.weight"], torch.ones(2))


def test_nothing_is_unpickled_and_nobody_is_told_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, save in {"pickle.pt": pickle.dump, "torch.pt": torch.save}.items():
        with open(name, "wb") as file:
            save({"weight": Program("unpickled")}, file)
        with pytest.raises(InputError, match="the teacher's weights .* cannot be read") as error:
            read_weights(name, "the teacher's weights")
        assert "weights_only" not in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "unpickled").exists()


def test_what_is_no_state_dict_is_refused(tmp_path):
    with pytest.raises(InputError, match="the weights .*none.pt do not exist"):
        read_weights(tmp_path / "none.pt")
    torch.save({"weight": torch.ones(20_000)}, tmp_path / "net.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "net.pt").read_bytes()[:4000])
    with pytest.raises(InputError, match="cut.pt cannot be read"):
        read_weights(tmp_path / "cut.pt")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(InputError, match="list.pt are not a state dict"):
        read_weights(tmp_path / "list.pt")


def test_the_record_of_the_training(tmp_path):
    """A checkpoint of an unfinished training is refused, and one that is not the best that was recorded."""
    best, record, resume = (tmp_path / f"net_{name}" for name in ("best_epoch_state.pt", "record.json", "resume.pt"))
    torch.save({"weight": torch.ones(2)}, best)
    assert read_weights(best)  # alone
    resume.touch()
    other = best.rename(tmp_path / "net_epoch-12_state.pt")
    with pytest.raises(InputError, match=f"^{other} belongs to an incomplete training: run the training again"):
        read_weights(other)
    other.rename(best)
    record.write_text(json.dumps({"sha256": sha256(best)}))
    assert read_weights(best)  # a kill has left the state
    torch.save({"weight": torch.zeros(2)}, best)
    line = rf"^{best} is not the checkpoint recorded in {record} \(its SHA-256 differs\): restore the recorded file$"
    with pytest.raises(InputError, match=line):
        read_weights(best)
    record.write_text('{"sha256": null}')  # a training without validation
    assert read_weights(best)
    record.write_text("{")
    with pytest.raises(InputError, match="net_record.json is not the record of a training"):
        read_weights(best)
