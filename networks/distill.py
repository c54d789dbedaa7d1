"""Distil a frozen teacher into a student, inside weaver's own training loop.

    weaver --network-config networks/distill.py --data-config RUN/paired.yaml --data-config-val RUN/student.yaml
        -o student "'networks/PFN.py'" -o teacher "'networks/ParT.py'" -o teacher_weights "'teacher.pt'" ...

RUN/*.yaml are written by `python -m kd_trainer pair`. Options: student, teacher, teacher_weights, teacher_options,
seed, pretrained, a checkpoint from which the student takes all but its output layer, kd_alpha, kd_temperature, kd_loss
and more (see docs/reference/options.md); all others go to the student's network. The checkpoint is the student's: it
predicts and exports in plain weaver with its own network file and data config.
"""

from kd_trainer.distill.hooks import get_evaluate_fn, get_loss, get_model, get_train_fn, init_opt

__all__ = ["get_evaluate_fn", "get_loss", "get_model", "get_train_fn", "init_opt"]
