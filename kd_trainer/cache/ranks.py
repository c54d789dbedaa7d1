"""Distribution of files to several processes, for any launcher."""

import os
from collections.abc import Mapping

from kd_trainer.errors import InputError

LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def rank_and_size(
    rank: int | None = None, size: int | None = None, environment: Mapping[str, str] = os.environ
) -> tuple[int, int]:
    """Rank and number of processes: the given values, or those of torchrun, or of Slurm, or else 0 and 1.

    Raises
    ------
    InputError
        If only one of them is given, or if the rank is out of range.
    """
    if (rank is None) != (size is None):
        raise InputError("--rank and --world-size: give both, or neither")
    if rank is None or size is None:
        names = next((names for names in LAUNCHERS if all(name in environment for name in names)), None)
        rank, size = (int(environment[name]) for name in names) if names else (0, 1)
    if not 0 <= rank < size:
        raise InputError(f"rank {rank} of {size} processes: ranks go from 0 to {size - 1}")
    return rank, size


def share(sizes: Mapping[str, int], rank: int, world_size: int) -> list[str]:
    """The files of one process, of {path: bytes}: by decreasing size, each goes to the process with the least data."""
    loads = [0] * world_size
    shares: list[list[str]] = [[] for _ in range(world_size)]
    for path in sorted(sizes, key=lambda path: (-sizes[path], str(path))):
        least = loads.index(min(loads))
        loads[least] += sizes[path] + 1
        shares[least].append(path)
    return shares[rank]
