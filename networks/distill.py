"""Distil a frozen teacher into a student, inside weaver's own training loop.

    weaver --network-config networks/distill.py --data-config RUN/paired.yaml --data-config-val RUN/student.yaml
        -o student "'networks/PFN.py'" -o teacher "'networks/ParT.py'" -o teacher_weights "'teacher.pt'" ...

`python -m kd_trainer pair` writes RUN/*.yaml. Options: student, teacher, teacher_weights, teacher_options, pretrained,
seed, kd_alpha, kd_temperature, kd_loss and more (docs/reference/options.md); all others go to the student's network.
The checkpoint is that of the student alone: plain weaver predicts with it and exports it, with the student's own
network file and data config.
"""

from kd_trainer.distill.hooks import get_evaluate_fn, get_loss, get_model, get_train_fn, init_opt

__all__ = ["get_evaluate_fn", "get_loss", "get_model", "get_train_fn", "init_opt"]
