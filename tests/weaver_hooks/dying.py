"""The hooks of a network file ($HOOKS) that end the process with kill -9 where $DIE says: 'train 1', 'evaluate 2'."""

import os
import signal

from weaver.utils.import_tools import import_module

hooks = import_module(os.environ["HOOKS"], "_hooks")
get_model, get_loss, init_opt = hooks.get_model, hooks.get_loss, hooks.init_opt


def dying(name, function):
    def wrapped(model, *args, **kwargs):
        epoch = next((x for x in args if type(x) is int), kwargs.get("epoch"))
        result = function(model, *args, **kwargs)
        if os.environ.get("DIE") == f"{name} {epoch}":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


def get_train_fn(data_config, **kwargs):
    return dying("train", hooks.get_train_fn(data_config, **kwargs))


def get_evaluate_fn(data_config, **kwargs):
    return dying("evaluate", hooks.get_evaluate_fn(data_config, **kwargs))
