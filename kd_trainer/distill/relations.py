"""Losses between the relations of jets in two embeddings, whose widths may differ.

The jets of a batch in embeddings (N, D) of the student and (N, E) of the teacher; under DDP, those of a process.
"""

import torch
import torch.nn.functional as F

TINY = 1e-8  # shorter vectors have no direction
ANGLED = 64  # jets of a batch between which angles are compared, evenly spread: all of 512 would have 512^3 angles


def relational_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Distances + 2 angles, relational distillation (Park et al., arXiv 1904.05068, with its weights 1 and 2)."""
    return distance_loss(student, teacher) + 2 * angle_loss(student, teacher)


def distance_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Huber loss between the distances of all pairs of jets, each in units of their mean (of the same paper)."""
    ours, theirs = (_in_units_of_the_mean(F.pdist(x)) for x in (student, teacher))
    return F.smooth_l1_loss(ours, theirs, reduction="sum") / max(len(ours), 1)


def angle_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Huber loss between cosines of the angles of triplets, those of `ANGLED` jets of the batch (of the same paper).

    Mean over triplets of different jets.
    """
    jets = min(len(student), ANGLED)
    rows = torch.arange(jets, device=student.device) * len(student) // max(jets, 1)
    ours, theirs = (_cosines(x[rows]) for x in (student, teacher))
    return F.smooth_l1_loss(ours, theirs, reduction="sum") / max(jets * (jets - 1) * (jets - 2), 1)


def similarity_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared distance between rows of the Gram matrices, each row with length 1, mean over jets.

    Similarity-preserving distillation (Tung, Mori, arXiv 1907.09682), which divides by N^2, not by N.
    """
    ours, theirs = (_directions(x @ x.T) for x in (student, teacher))
    return (ours - theirs).square().sum(dim=1).mean()


def _in_units_of_the_mean(distances: torch.Tensor) -> torch.Tensor:
    return distances / distances.mean().clamp(min=TINY)


def _cosines(x: torch.Tensor) -> torch.Tensor:
    """(N, N, N): the cosine of the angle at jet j between i and k at [j, i, k]; 0 or 1 if two of them are the same."""
    directions = _directions(x[None, :] - x[:, None])
    return directions @ directions.transpose(1, 2)


def _directions(x: torch.Tensor) -> torch.Tensor:
    """Vectors (..., D) with length 1; one that is too short becomes 0 and gets no gradient."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.masked_fill(length < TINY, torch.inf)


RELATIONAL = {"rkd": relational_loss, "similarity": similarity_loss}
