"""Figures of merit of several models on the same test jets, and ratios between models, with uncertainties.

A *sample* is one figure of merit of one model: values (S,) for S seeds, and replicas (S, R) on R resampled test samples
that all models share. The results are dicts of plain numbers for report.json; unknown entries are None:

    value         mean over the seeds
    statistical   uncertainty from the finite number of test jets
    seed_spread   standard deviation over the seeds      (None for one seed)
    seed_error    standard error of the mean over them   (None for one seed)
    total         both uncertainties in quadrature
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kd_trainer.evaluate import metrics
from kd_trainer.evaluate.bootstrap import Key, bootstrap
from kd_trainer.evaluate.predictions import Prediction
from kd_trainer.evaluate.task import Task, measure
from kd_trainer.evaluate.uncertainties import figure, in_quadrature, relative, standard_error


class Sample(NamedTuple):
    """One figure of merit of one model."""

    values: np.ndarray  # (S,)
    replicas: np.ndarray  # (S, R)


Figure = dict[str, Any]  # see above
Samples = Mapping[str, Sample]  # by figure of merit
Rejections = Mapping[str, Sequence[metrics.Rejection]]  # by working point, one for each seed


def _spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds; None for one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def mean(sample: Sample, *, positive: bool = False) -> Figure:
    """A figure of one model. `positive` is for quantities that vary by factors, such as a mean rejection."""
    value, replicas = sample.values.mean(), sample.replicas.mean(axis=0)
    statistical = value * relative(replicas) if positive else np.std(replicas, ddof=1)
    error, values = standard_error(sample.values), sample.values.tolist()
    return figure(value, statistical, error, seed_spread=_spread(values), per_seed=values)


def difference(first: Sample, second: Sample) -> Figure:
    """First minus second model on the same jets; seeds are independent trainings."""
    value = first.values.mean() - second.values.mean()
    statistical = np.std(first.replicas.mean(axis=0) - second.replicas.mean(axis=0), ddof=1)
    return figure(value, statistical, in_quadrature([standard_error(sample.values) for sample in (first, second)]))


def ratio(first: Sample, second: Sample) -> Figure:
    """First over second model for a positive figure on the same jets; seeds are independent trainings."""
    value = first.values.mean() / second.values.mean()
    statistical = value * relative(first.replicas.mean(axis=0) / second.replicas.mean(axis=0))
    errors = [standard_error(sample.values / sample.values.mean()) for sample in (first, second)]
    error = in_quadrature(errors)
    return figure(value, statistical, None if error is None else value * error)


def mean_rejection(seeds: Sequence[metrics.Rejection]) -> Figure:
    """Mean over the seeds of a rejection at one working point (one `metrics.Rejection` for each seed).

    The seeds share their test jets, so averaging does not reduce the binomial uncertainty. `few` is set if a seed
    leaves fewer than `metrics.FEW_JETS` background jets; if a seed leaves none, there is only the lower limit.
    """
    counts = {
        "lower_limit_95": min(seed.lower_limit for seed in seeds),
        "background_left": [seed.passed for seed in seeds],
        "few": min(seed.passed for seed in seeds) < metrics.FEW_JETS,
    }
    known = [(seed.value, seed.uncertainty) for seed in seeds if seed.value is not None]
    if len(known) < len(seeds):
        empty = dict.fromkeys(("value", "statistical", "seed_error", "total", "seed_spread"))
        return {**empty, "per_seed": [seed.value for seed in seeds], **counts}
    values, uncertainties = (list(column) for column in zip(*known))
    error, spread = standard_error(values), _spread(values)
    return figure(np.mean(values), np.mean(uncertainties), error, seed_spread=spread, per_seed=values, **counts)


def well_measured(*rejections: Rejections) -> list[str]:
    """Working points at which every seed of these models, {working point: [metrics.Rejection]}, keeps enough jets."""
    points = rejections[0]
    return [k for k in points if all(r.passed >= metrics.FEW_JETS for of in rejections for r in of[k])]


def mean_over_points(samples: Samples, points: Sequence[str]) -> Sample | None:
    """Sample of the geometric mean over working points of one model; None if there are no points."""
    if not points:
        return None
    values, replicas = zip(*(samples[key] for key in points))
    return Sample(metrics.geometric_mean(values), metrics.geometric_mean(replicas))


def collect(
    task: Task, models: Mapping[Key, Sequence[Prediction]], replicas: int
) -> tuple[dict[Key, Samples], dict[Key, Rejections]]:
    """Measure all models, and resample the test jets once for all of them.

    Parameters
    ----------
    models : {name: [predictions.Prediction, one for each seed]}
    replicas : number of bootstrap replicas R.

    Returns
    -------
    samples : {name: {figure: Sample}}, without the working points at which a seed leaves no background jet.
    rejections : {name: {working point: [metrics.Rejection, one for each seed]}}
    """
    measured = {name: [measure(task, p.scores) for p in predictions] for name, predictions in models.items()}
    statistics = {
        (name, seed, key): statistic
        for name, seeds in measured.items()
        for seed, m in enumerate(seeds)
        for key, statistic in m.statistics.items()
    }
    drawn = bootstrap(statistics, len(task.labels), replicas=replicas)
    samples: dict[Key, Samples] = {}
    rejections: dict[Key, Rejections] = {}
    for name, seeds in measured.items():
        rejections[name] = {key: [m.rejections[key] for m in seeds] for key in seeds[0].rejections}
        values: dict[str, list[Any]] = {key: [m.values[key] for m in seeds] for key in seeds[0].values}
        values |= {key: [r.value for r in of] for key, of in rejections[name].items() if all(r.passed for r in of)}
        samples[name] = {
            key: Sample(np.array(found), np.stack([drawn[name, seed, key] for seed in range(len(seeds))]))
            for key, found in values.items()
        }
    return samples, rejections


def summarise(samples: Samples, rejections: Rejections, points: Sequence[str]) -> dict[str, Any]:
    """{figure: numbers} of one model; None for unknown numbers.

    accuracy, auc, `rejection` (geometric mean over `points`) and `rejections`, one for each working point.
    """
    overall = mean_over_points(samples, points)
    return {
        **{key: mean(samples[key]) if key in samples else None for key in ("accuracy", "auc")},
        "rejection": overall and mean(overall, positive=True),
        "rejections": {key: mean_rejection(seeds) for key, seeds in rejections.items()},
    }


def compare(first: Samples, second: Samples, points: Sequence[str], averaged: Sequence[str]) -> dict[str, Any]:
    """{figure: numbers} of one model against another, from samples {figure: Sample}; None for unknown numbers.

    Differences of accuracy and auc, `rejection_ratio` (geometric mean over the working points `averaged`) and
    `rejection_ratios`, one for each of `points`.
    """
    both = first.keys() & second.keys()
    over, under = (mean_over_points(samples, averaged) for samples in (first, second))
    return {
        **{f"{k}_difference": difference(first[k], second[k]) if k in both else None for k in ("accuracy", "auc")},
        "rejection_ratio": ratio(over, under) if over and under else None,
        "averaged": averaged,
        "rejection_ratios": {k: ratio(first[k], second[k]) if k in both else None for k in points},
    }
