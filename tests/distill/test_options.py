import pytest

from kd_trainer.distill.options import Options, split
from kd_trainer.errors import InputError

GIVEN = {"student": "networks/PFN.py", "teacher": "networks/ParT.py", "teacher_weights": "t.pt"}


def test_other_options_go_to_the_student():
    options, student = split({**GIVEN, "kd_alpha": 0.5, "phi_dims": (8, 8), "for_inference": True})
    assert options == Options(**GIVEN, kd_alpha=0.5)
    assert student == {"phi_dims": (8, 8), "for_inference": True}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kd_alhpa": 0.5}, "unknown option kd_alhpa: valid are student, teacher, teacher_weights, .*kd_temperature"),
        ({"teacher_wieghts": "x"}, "unknown option teacher_wieghts: valid are"),
        ({"kd_alpha": 1.5}, "kd_alpha is 1.5: it must lie between 0 and 1"),
        ({"kd_temperature": 0.0}, "kd_temperature is 0.0: it must be above 0"),
        ({"teacher_options": "num_layers"}, "teacher_options is 'num_layers': it must be a dict"),
        ({"teacher": None}, "no teacher is given"),
        ({"teacher_weights": None}, "the teacher has no weights"),
    ],
)
def test_bad_options(change, message):
    with pytest.raises(InputError, match=message):
        split({**GIVEN, **change})


def test_a_student_is_needed():
    with pytest.raises(InputError, match="no student is given"):
        split({"teacher": "networks/ParT.py"})


def test_labels_alone_only_when_asked_for():
    options, _ = split({"student": "networks/PFN.py", "kd_alpha": 0.0})
    assert options.teacher is None
