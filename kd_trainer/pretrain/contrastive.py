"""Contrastive learning as classification over the batch (NT-Xent, arXiv 2002.05709).

The 2N views of N jets are the classes. The logits of a view are its cosine similarities with all other views, divided
by tau; its label is the index of its partner, the other view of the same jet. The cross-entropy is then NT-Xent.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from weaver.utils.nn.tools import AllGather

from kd_trainer.weaver_hooks import CONTRAST, output_layer
from kd_trainer.weaver_hooks.seeds import rank


def similarities(views: torch.Tensor, everyone: torch.Tensor, *, first: int, temperature: float) -> torch.Tensor:
    """Logits (M, L) of the contrastive task, -inf for a view with itself.

    Parameters
    ----------
    views : (M, D)
        Embeddings, normalised to length 1.
    everyone : (L, D)
        The candidates for the partner of each view; `views` are its rows starting at `first`.
    temperature : float
        tau
    """
    logits = views @ everyone.T / temperature
    own = first + torch.arange(len(views), device=views.device)
    return logits.scatter(1, own[:, None], -torch.inf)


def partners(jets: int, *, first: int = 0, device: torch.device | str | None = None) -> torch.Tensor:
    """Indices (2 * jets,) of the partners, if the first and then the second views of all jets start at row `first`."""
    return first + (torch.arange(2 * jets, device=device) + jets) % (2 * jets)


def first_row(views: int) -> int:
    """The index of the first view of this process among the views of all processes, which have equal numbers."""
    return views * rank()


class Contrast(nn.Module):
    """Projection of embeddings (M, D) and logits of the task; in training, views of all processes are candidates.

    Parameters
    ----------
    dims : sequence of int
        Widths of the layers of the projection, with ReLU between them.
    """

    def __init__(self, embedding_dim: int, dims: Sequence[int], temperature: float) -> None:
        super().__init__()
        layers = []
        for in_dim, out_dim in zip((embedding_dim, *dims), dims):
            layers += [nn.Linear(in_dim, out_dim), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.temperature = temperature

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):  # bf16 would round logits near 10 to 1/16
            views = F.normalize(self.layers(embeddings.float()), dim=1)
            if not self.training:
                return similarities(views, views, first=0, temperature=self.temperature)
            everyone = AllGather.apply(views)
            return similarities(views, everyone, first=first_row(len(views)), temperature=self.temperature)


def nt_xent(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the logits, with the indices of the partners as labels."""
    return F.cross_entropy(logits.float(), labels)


def as_contrastive(model: nn.Module, *, projection: Sequence[int], temperature: float) -> nn.Module:
    """Turn a tagger into an encoder: replace its output layer by a projection and the logits of the contrastive task.

    Weights keep their names, so a checkpoint loads into the tagger; only the output layer is missing.

    Parameters
    ----------
    model : torch.nn.Module
        The model of a network file, with an `output_layer`.
    """
    name, layer = output_layer(model)
    model.set_submodule(name, nn.Identity())
    model.add_module(CONTRAST, Contrast(layer.in_features, projection, temperature))
    model.register_forward_hook(_logits)
    return model


def _logits(model: nn.Module, inputs: Any, embeddings: torch.Tensor) -> torch.Tensor:
    return model.get_submodule(CONTRAST)(embeddings)
