"""Shared parts of all hook files (`networks/distill.py`, ...): options, networks, inputs, resumed trainings."""

from kd_trainer.weaver_hooks.going_on import evaluates, init_opt_of, look_at, reads_whole, training_of, trains
from kd_trainer.weaver_hooks.hook import (
    HookOptions,
    as_list,
    check_numbers,
    hook,
    is_number,
    load_network,
    loud,
    output_layer,
)
from kd_trainer.weaver_hooks.inputs import Gather, Loader, check_files, files_of, gather, loaders_of
from kd_trainer.weaver_hooks.pretrained import CONTRAST, take_over
from kd_trainer.weaver_hooks.seeds import seed_network

__all__ = [
    "CONTRAST", "Gather", "HookOptions", "Loader", "as_list", "check_files", "check_numbers", "evaluates", "files_of",
    "gather", "hook", "init_opt_of", "is_number", "load_network", "loaders_of", "look_at", "loud", "output_layer",
    "reads_whole", "seed_network", "take_over", "training_of", "trains",
]  # fmt: skip
