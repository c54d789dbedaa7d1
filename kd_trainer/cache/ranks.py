"""Which of several processes does what, with whatever launcher started them."""

import os
from collections.abc import Mapping

from kd_trainer.errors import InputError

LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def rank_and_size(
    rank: int | None = None, size: int | None = None, environment: Mapping[str, str] = os.environ
) -> tuple[int, int]:
    """This process's number and how many there are: as given, else of torchrun, else of Slurm, else 0 of 1.

    Raises
    ------
    InputError
        If one is given without the other, or if the number is out of range.
    """
    if (rank is None) != (size is None):
        raise InputError("--rank and --world-size go together")
    if rank is None or size is None:
        names = next((names for names in LAUNCHERS if all(name in environment for name in names)), None)
        rank, size = (int(environment[name]) for name in names) if names else (0, 1)
    if not 0 <= rank < size:
        raise InputError(f"rank {rank} of {size} processes: ranks go from 0 to {size - 1}")
    return rank, size


def share(sizes: Mapping[str, int], rank: int, world_size: int) -> list[str]:
    """The files of one process: the largest first, each to the process that has least so far.

    Parameters
    ----------
    sizes : dict of path -> bytes

    Returns
    -------
    list of paths
    """
    loads = [0] * world_size
    shares: list[list[str]] = [[] for _ in range(world_size)]
    for path in sorted(sizes, key=lambda path: (-sizes[path], str(path))):
        least = loads.index(min(loads))
        loads[least] += sizes[path] + 1
        shares[least].append(path)
    return shares[rank]
