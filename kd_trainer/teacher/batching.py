"""Batches for teachers: jets of similar multiplicity, padded only to the longest jet of the batch.

Attention and pair features cost P^2, so batches are limited by the number of pairs, not of jets.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from kd_trainer.teacher.soft_targets import Inputs

PAIRS = {"cpu": 2**16, "cuda": 2**22}  # pairs of particles in a batch; on a CPU most data then fit into the cache
JETS = 128  # jets in a batch of inputs without a mask, which cannot be trimmed
LENGTHS = (1, 32)  # shortest lengths to try; a graph network needs enough slots for its neighbours, even empty ones


def masks_of(inputs: Inputs) -> dict[str, str]:
    """The mask of each input (N, C, P): {'pf_features': 'pf_mask', 'pf_mask': 'pf_mask', ...}; others are left out."""
    found = {}
    for name, x in inputs.items():
        mask = f"{name.rpartition('_')[0]}_mask"
        if mask in inputs and x.ndim == 3 and x.shape[2] == inputs[mask].shape[2]:
            found[name] = mask
    return found


def lengths_of(mask: torch.Tensor) -> torch.Tensor:
    """(N, 1, P) -> (N,): number of slots up to the last real particle."""
    slots = torch.arange(1, mask.shape[2] + 1, device=mask.device)
    return ((mask[:, 0] != 0) * slots).amax(dim=1)


def batch_sizes(lengths: Iterable[int], pairs: int) -> list[int]:
    """Numbers of jets in batches of at most `pairs` pairs, for sorted lengths; a batch of one jet may have more."""
    sizes = [0]
    for length in lengths:
        if sizes[-1] and (sizes[-1] + 1) * length**2 > pairs:
            sizes.append(0)
        sizes[-1] += 1
    return sizes


def batches(inputs: Inputs, shortest: int | None) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
    """Divide jets into batches.

    Parameters
    ----------
    inputs : dict of name -> (N, ...) tensor
    shortest : int or None
        Smallest length after trimming; None: no trimming.

    Returns
    -------
    (N,) tensor, list of dict
        The order of the jets in the batches, and the inputs of each batch.
    """
    masks = masks_of(inputs)
    jets = next(iter(inputs.values()))
    if shortest is None or not masks:
        order = torch.arange(len(jets), device=jets.device)
        return order, [{k: x[chunk] for k, x in inputs.items()} for chunk in order.split(JETS)]
    lengths = {mask: lengths_of(inputs[mask]) for mask in set(masks.values())}
    total, order = torch.stack(list(lengths.values())).sum(dim=0).sort()
    cut = []
    pairs = PAIRS.get(jets.device.type, PAIRS["cuda"])
    for chunk in order.split(batch_sizes(total.clamp(min=shortest).tolist(), pairs)):
        longest = {mask: max(int(n[chunk].max()), shortest) for mask, n in lengths.items()}
        cut.append({k: x[chunk, :, : longest[masks[k]]] if k in masks else x[chunk] for k, x in inputs.items()})
    return order, cut


def trial_jets(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """Inputs of six random jets, for shapes {name: (N, C, P)}; padded slots have any values, as in weaver's `wrap`."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([1, 2, 7, 19, 40, 10**6])
    inputs = {k: torch.rand((len(counts), *shape[1:]), generator=generator) for k, shape in shapes.items()}
    for mask in set(masks_of(inputs).values()):
        inputs[mask] = (torch.arange(inputs[mask].shape[2]) < counts[:, None, None]).float()
    return inputs


@torch.no_grad()
def shortest_length(model: Callable[..., torch.Tensor], inputs: Inputs) -> int | None:
    """The smallest length to which jets may be trimmed without a change of the outputs; None if trimming changes them.

    Trimming changes the outputs of a network that ignores its mask, or that needs more neighbours than particles. The
    inputs for the test are those of `trial_jets`.
    """
    if not masks_of(inputs):
        return None
    full = model(*inputs.values())
    for shortest in LENGTHS:
        cut = []
        for jet in torch.arange(len(full)).split(1):
            cut += batches({k: x[jet] for k, x in inputs.items()}, shortest)[1]
        try:
            trimmed = torch.cat([model(*batch.values()) for batch in cut])
        except (RuntimeError, IndexError, AssertionError):
            continue
        if torch.allclose(trimmed, full, rtol=1e-4, atol=1e-5):
            return shortest
    return None
