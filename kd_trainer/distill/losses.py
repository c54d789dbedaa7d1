"""Losses between student and teacher: pure functions of logits, and the choice of a loss by name.

All are means over jets, do not change if a constant is added to the logits of a jet, and have a similar size, so that
the same weight `kd_alpha` fits.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from kd_trainer.errors import InputError

TINY = 1e-8  # smaller than every relevant spread


def kd_loss(*, student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(teacher || student) of softmax(logits / T) (Hinton, Vinyals, Dean, arXiv 1503.02531, section 2).

    Parameters
    ----------
    student_logits, teacher_logits : (N, K) tensors
    temperature : float
        T > 0; the factor T^2 keeps the size of the gradient independent of T.

    Returns
    -------
    scalar tensor
    """
    log_p_student = F.log_softmax(student_logits / temperature, dim=1)
    log_p_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(log_p_student, log_p_teacher, reduction="batchmean", log_target=True)


def decoupled_loss(
    *,
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    temperature: float,
    labels: torch.Tensor,
    target: float = 1.0,
    non_target: float = 8.0,
) -> torch.Tensor:
    """T^2 (target TCKD + non_target NCKD), decoupled distillation (Zhao et al., arXiv 2203.08679, equation 7).

    TCKD is KL(teacher || student) of the probabilities of "target" and "not target"; NCKD is that of the distribution
    among the other classes. With target = 1 and non_target = 1 - p(target) of the teacher for each jet, the loss equals
    `kd_loss`.

    Parameters
    ----------
    student_logits, teacher_logits : (N, K) tensors, K > 2
    temperature : float
    labels : (N,) tensor
        The target class.
    target, non_target : float
        Weights of the two parts, alpha and beta of the paper.
    """
    student, teacher = (_target_and_others(z / temperature, labels) for z in (student_logits, teacher_logits))
    divergences = [
        F.kl_div(ours, theirs, reduction="batchmean", log_target=True) for ours, theirs in zip(student, teacher)
    ]
    return temperature**2 * (target * divergences[0] + non_target * divergences[1])


def _target_and_others(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (N, 2) of target and not target, and (N, K - 1) of the distribution among the other classes."""
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, places + (places >= labels[:, None]))
    binary = torch.cat([logits.gather(1, labels[:, None]), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(binary, dim=1), F.log_softmax(others, dim=1)


def standardised_loss(
    *, student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float
) -> torch.Tensor:
    """`kd_loss` of logits standardised over the classes of a jet (Sun et al., arXiv 2403.01427, algorithm 1).

    The standardised logits have mean 0 and standard deviation 1. The student learns the relations between the teacher's
    logits, not their size.
    """
    student, teacher = (_standardised(logits) for logits in (student_logits, teacher_logits))
    return kd_loss(student_logits=student, teacher_logits=teacher, temperature=temperature)


def _standardised(logits: torch.Tensor) -> torch.Tensor:
    centred = _centred(logits)
    return centred * (centred.square().mean(dim=1, keepdim=True) + TINY).rsqrt()


def correlation_loss(
    *,
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    temperature: float,
    inter: float = 1.0,
    intra: float = 1.0,
) -> torch.Tensor:
    """T^2 (inter (1 - r) + intra (1 - r')) of probabilities at temperature T: DIST (Huang et al., arXiv 2205.10536).

    r is Pearson's correlation of the teacher's and the student's probabilities over the classes of a jet, averaged over
    jets; r' is the correlation over the jets of the batch for one class, averaged over classes.

    Parameters
    ----------
    student_logits, teacher_logits : (N, K) tensors, K > 2
    temperature : float
    inter, intra : float
        Weights of the two parts, beta and gamma of the paper.
    """
    student, teacher = ((logits / temperature).softmax(dim=1) for logits in (student_logits, teacher_logits))
    distances = inter * _uncorrelated(student, teacher) + intra * _uncorrelated(student.T, teacher.T)
    return temperature**2 * distances


def _uncorrelated(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 - Pearson's correlation of the rows of two matrices, mean over rows; a row without spread has correlation 0."""
    return 1 - F.cosine_similarity(_centred(a), _centred(b), dim=1, eps=TINY).mean()


def mse_loss(*, student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """Half the mean square difference of the logits after subtraction of their means (arXiv 1312.6184, equation 1).

    The subtracted mean is over the classes of a jet. The loss is the limit of `kd_loss` at high temperature
    (arXiv 1503.02531, eq. 4), so it fits the same weight. It has no temperature.
    """
    return (_centred(student_logits) - _centred(teacher_logits)).square().mean() / 2


def _centred(logits: torch.Tensor) -> torch.Tensor:
    return logits - logits.mean(dim=1, keepdim=True)


def no_loss(*, student_logits: torch.Tensor) -> torch.Tensor:
    """0: the student learns nothing from the soft targets, only from the teacher's embedding."""
    return student_logits.new_zeros(())


def agreement(logits: torch.Tensor, other_logits: torch.Tensor) -> torch.Tensor:
    """Fraction of jets for which two (N, K) tensors of logits have the same largest class."""
    return (logits.argmax(dim=1) == other_logits.argmax(dim=1)).float().mean()


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "kl": kd_loss,
    "dkd": decoupled_loss,
    "standardised": standardised_loss,
    "dist": correlation_loss,
    "mse": mse_loss,
    "none": no_loss,
}
NOT_FOR_TWO = {
    "dkd": "the part of the non-target classes is always zero",
    "standardised": "two standardised logits keep only a sign",
    "dist": "a correlation over two classes is only a sign",
}


def soft_target_loss(name: str, options: Mapping[str, float] | None = None) -> Callable[..., torch.Tensor]:
    """The loss with this name.

    Parameters
    ----------
    name : str
        A name in `LOSSES`.
    options : dict
        The weights of the loss, by name.

    Returns
    -------
    callable (student_logits, teacher_logits, labels, temperature) -> scalar

    Raises
    ------
    InputError
        For an unknown name or option, and for a weight that is not a number of at least 0.
    """
    if name not in list(LOSSES):  # `name in LOSSES` fails if the user gives a list
        raise InputError(f"kd_loss is {name!r}: valid are {', '.join(LOSSES)}")
    function = LOSSES[name]
    parameters = inspect.signature(function).parameters.values()
    valid = [p.name for p in parameters if p.default is not p.empty]
    needs = [p.name for p in parameters if p.default is p.empty]
    for key, value in (options or {}).items():
        if key not in valid:
            what = f"valid are {', '.join(valid)}" if valid else "it has no options"
            raise InputError(f"kd_loss_options: the loss {name} has no option {key!r}: {what}")
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InputError(f"kd_loss_options: {key} is {value!r}: it must be a number, 0 or above")
    function = functools.partial(function, **(options or {}))
    return lambda **given: function(**{key: given[key] for key in needs})


def check_classes(name: str, classes: int) -> None:
    """Raise InputError for a loss that has no meaning for two classes."""
    if classes == 2 and name in NOT_FOR_TWO:
        raise InputError(f"kd_loss '{name}' is not for two classes: {NOT_FOR_TWO[name]}; use 'kl' or 'mse'")


def cosine_distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 - cosine of the angle between two embeddings (N, D), mean over jets."""
    return 1 - F.cosine_similarity(student, teacher, dim=1).mean()


EMBED_LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cosine": cosine_distance,
    "smooth_l1": F.smooth_l1_loss,  # arXiv 1504.08083, eq. 3
}
