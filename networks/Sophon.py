"""Sophon (arXiv 2405.12972): ParT with a larger head for the 188 classes of JetClass-II.

Needs ParT.py in the same folder, and kd_trainer. After each epoch it writes the rejections and ROC curves of X -> bb
and X -> cc to the log and to TensorBoard, instead of the AUCs of all 17,578 pairs of classes that weaver computes.
"""

from pathlib import Path

from weaver.utils.import_tools import import_module
from weaver.utils.nn.tools import train_classification

from kd_trainer.supervised import evaluate_fn
from kd_trainer.weaver_hooks import evaluates, loud, reads_whole

part = import_module(str(Path(__file__).with_name("ParT.py")), "_part")
get_loss = part.get_loss


def get_model(data_config, **kwargs):
    return part.get_model(data_config, **{"fc_params": [(512, 0.1)], **kwargs})


@loud
def get_train_fn(data_config, **kwargs):
    return reads_whole(train_classification)


@loud
def get_evaluate_fn(data_config, **kwargs):
    return evaluates(evaluate_fn(data_config))
