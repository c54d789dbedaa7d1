"""The machine of a benchmark, the memory that a function takes, and memory that is kept for the next step."""

import ctypes
import multiprocessing
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

KEPT = 2**30  # bytes of freed memory that a training keeps
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt in glibc


def keep_freed_memory() -> None:
    """Make this process keep freed memory for later, up to `KEPT` bytes, if its C library is glibc.

    Otherwise the memory of a step's activations goes back to the system and comes again with a page fault for every
    4096 bytes, which took a quarter of a PFN's step on a CPU (docs/measurements/cache.md). Results do not change.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**25)  # the largest value that glibc takes
        mallopt(M_TRIM_THRESHOLD, KEPT)


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions: dict."""
    import torch

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def described(where: Mapping[str, Any]) -> str:
    """Processor or GPU, number of threads and version of torch of a `machine`, in words."""
    return f"{where['gpu'] or where['processor']}, {where['threads']} threads, torch {where['torch']}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peak_memory(function: Callable[..., Callable[[], object]], *args: Any) -> int | None:
    """Peak growth in bytes of the memory of a new process while it runs `function(*args)()`; None if not known."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (function, args))


def _measure(function: Callable[..., Callable[[], object]], args: tuple[Any, ...]) -> int | None:
    import torch

    run = function(*args)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    try:
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak so far, which may come from the parent process
    except OSError:
        return None
    resident_before = resident("VmRSS")
    run()
    peak = resident("VmHWM")
    return None if peak is None or resident_before is None else peak - resident_before


def resident(field: str, pid: str | int = "self") -> int | None:
    """Memory of a process in bytes, now (VmRSS) or at its peak (VmHWM); None if the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)
