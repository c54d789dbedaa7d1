import argparse

import pytest

from kd_trainer.distill.options import Options
from kd_trainer.errors import InputError
from kd_trainer.teacher.spec import AddTeacher, check_complete

GIVEN = {"student": "networks/PFN.py", "teacher": "networks/ParT.py", "teacher_weights": "t.pt"}


def test_other_options_go_to_the_student():
    options, student = Options.split({**GIVEN, "kd_alpha": 0.5, "phi_dims": (8, 8), "for_inference": True})
    assert options == Options(**GIVEN, kd_alpha=0.5)
    assert student == {"phi_dims": (8, 8), "for_inference": True}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kd_alhpa": 0.5}, "unknown option kd_alhpa: valid are student, teacher, teacher_weights, .*kd_temperature"),
        ({"teacher_wieghts": "x"}, "unknown option teacher_wieghts: valid are"),
        ({"restart": True}, "restart is True: valid are no, yes, changed"),
        ({"kd_alpha": 1.5}, "kd_alpha is 1.5: it must lie between 0 and 1"),
        ({"kd_alpha": [(0, 0.5), (9, 1.5)]}, r"kd_alpha is \[.*\]: it must lie between 0 and 1"),
        ({"kd_alpha": True}, "kd_alpha is True: it must be a number, or a schedule like"),
        ({"kd_loss": ["kl"]}, r"kd_loss is \['kl'\]: valid are kl, "),
        ({"kd_embed_loss": []}, r"kd_embed_loss is \[\]: valid are cosine"),
        ({"kd_loss": "dkd", "kd_loss_options": {"beta": 2}}, "no option 'beta': valid are target, non_target"),
        ({"kd_loss_options": "target"}, "kd_loss_options is 'target': it must be a dict"),
        ({"kd_loss": "none"}, "the student learns nothing from the teacher: give a kd_embed_weight"),
        ({"kd_embed_loss": "l2"}, "kd_embed_loss is 'l2': valid are cosine, smooth_l1"),
        ({"kd_ema": 1.0}, "kd_ema is 1.0: it must be 0 or above, and below 1, for example 0.999"),
        ({"kd_ema": -0.1}, "kd_ema is -0.1: it must be 0 or above"),
        ({"kd_embed_weight": 1, "kd_cache": "x"}, "a cache has no embeddings"),
        ({"kd_embed_weight": 1, "teacher_weights": ["a", "b"]}, "an ensemble has no embedding"),
        ({"kd_embed_weight": 1, "kd_alpha": 0, "teacher": None}, "no teacher is given"),
        ({"kd_ensemble": "votes"}, "kd_ensemble is 'votes': valid are probabilities, logits"),
        ({"teacher_weights": ["a", 2]}, r"teacher_weights is \['a', 2\]: it must be a file, or a list of files"),
        ({"teacher_weights": ["a", "b"], "teacher": ["x", "y", "z"]}, "teacher_weights has 2 entries for 3 teachers"),
        ({"teacher_options": "num_layers"}, "teacher_options is 'num_layers': it must be a dict"),
        ({"teacher": None}, "no teacher is given"),
        ({"teacher": None, "kd_alpha": [(0, 0), (5, 0.1)]}, "no teacher is given"),
        ({"teacher_weights": None}, "the teacher has no weights"),
    ],
)
def test_bad_options(change, message):
    """Values of numbers are in tests/faults/test_settings.py."""
    with pytest.raises(InputError, match=message):
        Options.split({**GIVEN, **change})


def test_a_student_is_needed():
    with pytest.raises(InputError, match="no student is given"):
        Options.split({"teacher": "networks/ParT.py"})


def test_labels_alone_only_when_asked_for():
    options, _ = Options.split({"student": "networks/PFN.py", "kd_alpha": 0.0})
    assert options.teacher is None


def test_one_network_file_and_one_set_of_options_serve_several_weights():
    options = Options(**{**GIVEN, "teacher_weights": ["a.pt", "b.pt"]}, teacher_options={"num_layers": 2})
    assert options.teachers() == [("networks/ParT.py", w, {"num_layers": 2}) for w in ("a.pt", "b.pt")]
    options = Options("PFN.py", ["x.py", "y.py"], ["a.pt", "b.pt"], [{}, {"num_layers": 2}])
    assert options.teachers() == [("x.py", "a.pt", {}), ("y.py", "b.pt", {"num_layers": 2})]
    assert Options(**GIVEN).teachers() == [("networks/ParT.py", "t.pt", {})]


def parse(text):
    parser = argparse.ArgumentParser()
    for names, nargs in ((("--network",), None), (("--weights",), None), (("-o", "--network-option"), 2)):
        parser.add_argument(*names, nargs=nargs, action=AddTeacher, dest="teachers", required=nargs is None)
    teachers = parser.parse_args(text.split()).teachers
    check_complete(teachers)
    return teachers


def test_teachers_of_a_command_line():
    one = [("x.py", "a.pt", {"layers": 2, "trim": False})]
    assert parse("--network x.py --weights a.pt -o layers 2 -o trim False") == one
    assert parse("-o layers 2 --weights a.pt --network x.py -o trim False") == one
    two = parse("--network x.py -o layers 2 --weights a.pt --network x.py --weights b.pt -o layers 3")
    assert two == [("x.py", "a.pt", {"layers": 2}), ("x.py", "b.pt", {"layers": 3})]
    with pytest.raises(InputError, match="--network y.py has no --weights after it"):
        parse("--network x.py --weights a.pt --network y.py")
    with pytest.raises(InputError, match="--weights b.pt needs its own --network before it"):
        parse("--network x.py --weights a.pt --weights b.pt")
