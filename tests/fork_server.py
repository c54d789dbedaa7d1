"""weaver and kd_trainer without the import time of torch and numba: each command runs in a fork of a process.

    python fork_server.py SOCKET

listens on a socket for a command (program, arguments, folder, environment in JSON, with its three standard files) and
answers with its exit code. Modules of this repository are not imported before the fork: they are those that the command
itself would find.
"""

import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback

import awkward as ak
import yaml
from weaver.train import main as weaver
from weaver.utils.data.tools import _pad

MODULES = "pyarrow.parquet pyarrow.dataset uproot onnx matplotlib.pyplot mplhep torch._dynamo vector tabulate"
for module in MODULES.split():
    importlib.import_module(module)
_pad(ak.Array([[1.0]]), 1)  # numba prepares itself at the first call
yaml.safe_load = functools.partial(yaml.load, Loader=yaml.CSafeLoader)  # as in conftest


def kd_trainer():
    sys.path.insert(0, os.getcwd())
    runpy.run_module("kd_trainer", run_name="__main__", alter_sys=True)


def execute(command, files):
    """Become the command: its exit code."""
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir(command["cwd"])
    sys.path[:0] = filter(None, command["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [command["program"], *command["arguments"]]
    try:
        {"weaver": weaver, "kd_trainer": kd_trainer}[command["program"]]()
        return 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def answer(connection):
    """In a fork: run what the client asks for in a fork of this one, and tell how it ended."""
    length, files, *_ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        command = json.loads(stream.read(int.from_bytes(length, "big")))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        connection.close()
        os._exit(execute(command, files))
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, connection], [], [])[0]:  # the client was killed
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(str(code).encode())


def serve(path):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while server in select.select([server, sys.stdin], [], [])[0]:  # until whoever began this has gone
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                try:
                    answer(connection)
                finally:
                    os._exit(0)
            connection.close()


if __name__ == "__main__":
    serve(*sys.argv[1:])
