import pytest

from kd_trainer.errors import InputError
from kd_trainer.pretrain.options import Options

GIVEN = {"encoder": "networks/ParT.py"}


def test_other_options_go_to_the_encoder():
    options, encoder = Options.split({**GIVEN, "cl_temperature": 0.2, "aug_boost": 0.5, "num_layers": 2})
    assert options == Options("networks/ParT.py", cl_temperature=0.2, aug_boost=0.5)
    assert encoder == {"num_layers": 2}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cl_temprature": 0.1}, "unknown option cl_temprature: valid are encoder, cl_temperature"),
        ({"aug_rotate": 1.0}, "unknown option aug_rotate: valid are .*aug_rotation"),
        ({"cl_temperature": 0.0}, "cl_temperature is 0.0: it must be above 0"),
        ({"aug_distortion": -0.1}, "aug_distortion is -0.1: it must be 0 or above"),
        ({"aug_splitting": 1.5}, "aug_splitting is 1.5: it must lie between 0 and 1"),
        ({"aug_dropping": -1}, "aug_dropping is -1: it must lie between 0 and 1"),
        ({"aug_rotation": "x"}, "aug_rotation is 'x': it must be a number"),
        ({"aug_boost": float("inf")}, "aug_boost is inf: it must be a number"),
        ({"cl_projection": 128}, r"cl_projection is 128: it must be widths like \(128, 128\)"),
        ({"cl_val_jets": 1}, "cl_val_jets is 1: it must be at least 2"),
    ],
)
def test_bad_options(change, message):
    with pytest.raises(InputError, match=message):
        Options.split({**GIVEN, **change})


def test_an_encoder_is_needed():
    with pytest.raises(InputError, match="no encoder is given"):
        Options.split({"cl_temperature": 0.1})
