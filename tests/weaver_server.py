"""Weaver without the five seconds that Python takes to import it: commands of one process run in forks of another.

Each line of standard input is a command in JSON (arguments, folder, environment, files of its output); it runs in a
fork of its own, as the `weaver` command would run it, and its exit code is the answer.
"""

import functools
import json
import os
import sys
import traceback

import yaml
from weaver.train import main

yaml.safe_load = functools.partial(yaml.load, Loader=yaml.CSafeLoader)  # as in conftest


def execute(command):
    """Become the weaver command, and never return."""
    code = 1
    try:
        for descriptor, path in enumerate((os.devnull, command["stdout"], command["stderr"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_TRUNC if descriptor else os.O_RDONLY), descriptor)
        os.environ.clear()
        os.environ.update(command["env"])
        os.chdir(command["cwd"])
        sys.path[:0] = command["env"].get("PYTHONPATH", "").split(os.pathsep)
        sys.argv = ["weaver", *command["arguments"]]
        main()
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            execute(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
