"""One job of a study in a process of its own, forked from one that has weaver imported already."""

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait

PRELOAD = ["weaver.train", "kd_trainer.cache.command", "kd_trainer.distill.hooks", __name__]


def work(program, arguments, log):
    """Run a program as if its command had been typed, its output in a file.

    Parameters
    ----------
    program : weaver or cache
    arguments : list of str
    log : path
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(log, "w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = [program, *arguments]
    sys.exit(_main_of(program)())


def _main_of(program):
    if program == "weaver":
        from weaver.train import main

        return main
    from kd_trainer.__main__ import main

    return lambda: main(sys.argv)


def _end_with_parent():
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
