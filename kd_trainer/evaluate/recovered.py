"""The fraction of the gap to a larger model that distillation closes: (distilled - twin) / (ceiling - twin)."""

import numpy as np

from kd_trainer.evaluate.compare import Figure, Sample
from kd_trainer.evaluate.uncertainties import figure, in_quadrature, standard_error

MEASURED = 2.0  # the fraction is defined if the ceiling is this many standard deviations above the twin


def logarithm(sample: Sample) -> Sample:
    """The sample of the logarithm of a figure, for example of a rejection."""
    return Sample(np.log(sample.values), np.log(sample.replicas))


def recovered(distilled: Sample, twin: Sample, ceiling: Sample) -> Figure | None:
    """The fraction of the gap between the student trained on labels alone (twin) and a ceiling.

    Parameters
    ----------
    distilled, twin : Sample
        With equal numbers of seeds they are paired: trainings with the same seeds.

    Returns
    -------
    dict, or None if the ceiling is less than two standard deviations above the twin
        Uncertainties are propagated to first order.
    """
    kd, ce, top = (sample.values.mean() for sample in (distilled, twin, ceiling))
    way = top - ce
    if way <= MEASURED * _uncertainty_of_way(twin, ceiling):
        return None
    slopes = 1 / way, (kd - top) / way**2, (ce - kd) / way**2  # derivatives by kd, ce and top
    means = [sample.replicas.mean(axis=0) for sample in (distilled, twin, ceiling)]
    statistical = np.std(sum(slope * mean for slope, mean in zip(slopes, means)), ddof=1)
    first, second, third = (slope * sample.values for slope, sample in zip(slopes, (distilled, twin, ceiling)))
    paired = [first + second] if len(first) == len(second) else [first, second]
    return figure((kd - ce) / way, statistical, in_quadrature([standard_error(part) for part in (*paired, third)]))


def _uncertainty_of_way(twin: Sample, ceiling: Sample) -> float:
    """Standard deviation of the distance between two samples of independent seeds on the same test jets."""
    statistical = np.std(ceiling.replicas.mean(axis=0) - twin.replicas.mean(axis=0), ddof=1)
    return in_quadrature([statistical, *(standard_error(sample.values) for sample in (twin, ceiling))]) or 0.0
