"""The content of a report: sentences, tables and figures in order, from the numbers of report.json."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kd_trainer.evaluate import published, tables
from kd_trainer.evaluate.blocks import Block, Figure, Report, Section
from kd_trainer.evaluate.metrics import FEW_JETS
from kd_trainer.evaluate.tables import plus_minus
from kd_trainer.evaluate.working_points import MANY_CLASSES

NO_COMPARISON = "No ratio of two models was asked for: --compare A=B."


def _seeds(names: Sequence[str], counts: Sequence[int]) -> str:
    """'3 seeds'; '1 seed each, ...' if the uncertainty lacks a seed-to-seed part."""
    if min(counts) > 1:
        return f"{counts[0]} seeds" if counts[0] == counts[1] else f"{counts[0]} and {counts[1]} seeds"
    if max(counts) == 1:
        return "1 seed each, statistical uncertainty only"
    single = names[counts.index(1)]
    return f"{counts[0]} and {counts[1]} seeds, without the seed-to-seed uncertainty of {single}"


def conclusion(results: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """One sentence on the geometric-mean ratio of a comparison, which also says if no difference is seen."""
    first, second = names = comparison["numerator"], comparison["denominator"]
    ratio, jets = comparison["rejection_ratio"], results["n_jets"]
    if ratio is None:
        return f"{first} against {second}: {jets} test jets are too few to compare their background rejections."
    seeds = _seeds(names, [len(results["models"][name]["files"]) for name in names])
    points = f"{len(comparison['averaged'])} working point{'s' if len(comparison['averaged']) > 1 else ''}"
    basis = f"geometric mean of {points}, {jets} test jets, {seeds}"
    seen = abs(ratio["value"] - 1) > 2 * ratio["total"]
    if comparison["distilled_over_baseline"]:
        lead = "With the teacher," if ratio["value"] > 1 else "The student is worse with the teacher:"
        lead = lead if seen else "No gain is seen with the teacher:"
        fact = f"the background rejection of the student ({first}) is {plus_minus(ratio)} times that of"
        return f"{lead} {fact} the same student trained on labels alone ({second}); {basis}.{_of_the_way(comparison)}"
    lead = "The" if seen else "No difference is seen: the"
    fact = f"background rejection of {first} is {plus_minus(ratio)} times that of {second}"
    return f"{lead} {fact}; {basis}.{_of_the_way(comparison)}"


def findings(results: Mapping[str, Any]) -> list[str]:
    """The conclusions of all comparisons, and a warning if equal test jets could not be verified."""
    sentences = [c["conclusion"] for c in results["comparisons"]] or [NO_COMPARISON]
    return [*sentences, results["caveat"]] if results["caveat"] else sentences


def _of_the_way(comparison: Mapping[str, Any]) -> str:
    """A sentence on the recovered fraction of the gap to the ceiling; '' without a ceiling above the twin."""
    way = comparison.get("recovered", {})
    labels = {"auc": "(AUC)", "log_rejection": "(logarithm of the rejection)"}
    texts = [f"{plus_minus(way[key])} {label}" for key, label in labels.items() if way.get(key)]
    return f" It closes {' and '.join(texts)} of the gap to {way['ceiling']}." if texts else ""


def explain_uncertainties(results: Mapping[str, Any]) -> str:
    """Sentences on the computation of the uncertainties of this report."""
    models = results["models"].values()
    sentences = [
        "Every ± is one standard deviation.",
        "A single rejection has the binomial uncertainty of the number of background jets left.",
        f"All others are the standard deviation over {results['bootstrap_replicas']} bootstrap replicas of the test "
        "sample, the same for all models, so common fluctuations cancel in ratios and differences; "
        "for geometric means and ratios it is taken from logarithms.",
    ]
    if any(len(model["files"]) > 1 for model in models):
        sentences += [
            "With several seeds the value is their mean, and the standard error of this mean, from the spread over the "
            "seeds, is added in quadrature (relative errors of both models for a ratio; seeds of two models are "
            "independent). The seeds share the test jets, so averaging does not reduce the statistical part. Effects "
            "that depend on both test jets and training are counted in both parts, so the total is conservative. A "
            "spread over n seeds has itself a relative uncertainty of 1 / sqrt(2 (n - 1))."
        ]
    if any(len(model["files"]) == 1 for model in models):
        sentences.append("Models with one seed have only the statistical uncertainty: their spread is not known.")
    if any(rejection["few"] for model in models for rejection in model["rejections"].values()):
        sentences.append(
            f"† marks a rejection for which a seed leaves fewer than {FEW_JETS} background jets; > marks a lower limit "
            "at 95 % confidence level for which a seed leaves none. Geometric means exclude these working points."
        )
        means = {"the models": results["averaged"], **{tables.title(c): c["averaged"] for c in results["comparisons"]}}
        sentences.append(
            "Working points in the geometric means: "
            + "; ".join(f"{name}: {_listed(points)}" for name, points in means.items())
            + "."
        )
    return " ".join(sentences)


def _listed(points: Sequence[str]) -> str:
    """The working points of a mean, in words."""
    if not points:
        return "none"
    return ", ".join(points) if len(points) <= tables.MOST_COLUMNS else f"{len(points)} working points"


def explain_rejections(results: Mapping[str, Any]) -> tuple[str, str]:
    """Heading and definition of the table of rejections."""
    backgrounds = {point["background"] for point in results["working_points"]}
    heading, against, name = "Background rejections", " against B", "B"
    if len(backgrounds) == 1:
        (name,) = backgrounds
        heading, against = f"Rejection of {name}", ""
    summed = f", p_{name} the sum over its classes" if len(results["background"]["classes"]) > 1 else ""
    return heading, (
        "Background rejection 1 / (false-positive rate) at the signal efficiency in brackets; "
        f"the score of class S{against} is p_S / (p_S + p_{name}){summed}."
    )


def explain_sample(results: Mapping[str, Any]) -> str:
    """Numbers of test jets in total, of the background and, if there are few classes, of each class."""
    background, jets = results["background"], results["jets_per_class"]
    n_background = sum(jets[name] for name in background["classes"])
    counted = list(jets)
    if len(counted) > tables.MOST_COLUMNS:
        counted = list(dict.fromkeys(point["signal"] for point in results["working_points"]))
    counts = f": {', '.join(f'{jets[n]} {n}' for n in counted)}" if len(counted) <= tables.MOST_COLUMNS else ""
    return f"{results['n_jets']} test jets, of which {n_background} {background['name']}{counts}."


def explain_latency(results: Mapping[str, Any]) -> list[str]:
    """Sentences on the measured latencies, if there are any."""
    measured = results.get("latency")
    if not measured:
        return []
    return [
        f"Latency is the median time for {measured['conditions']} (for each model the fastest engine), in single "
        f"precision, on {measured['processor']}; models of one network have the same latency. It depends on the "
        "machine and its load: quote ratios."
    ]


def families(results: Mapping[str, Any], drawn: Collection[str]) -> list[Section]:
    """The confusion figures of families of classes with an explanation, if there are any."""
    if "families" not in results:
        return []
    text = (
        f"{len(results['jets_per_class'])} classes are too many for one figure: the figures show "
        f"{len(results['families'])} families of classes, one figure for each model. A jet is assigned to the family "
        "with the largest sum of scores. The numbers are percentages of the test jets of the true family, averaged "
        "over seeds; numbers below 0.5 are not printed."
    )
    captions = {f"confusion_{i}": f"Confusion of families: {name}." for i, name in enumerate(results["models"], 1)}
    return [Section("Confusion of families", [text, *_figures(drawn, captions)])]


def _figures(drawn: Collection[str], captions: Mapping[str, str]) -> list[Block]:
    """The drawn figures among {name: caption}."""
    return [Figure(name, caption) for name, caption in captions.items() if name in drawn]


AGAINST = "Geometric-mean background rejection against {}; the bars are the total uncertainty."
ROC = "Background rejection against signal efficiency; the bands are one standard deviation."
RATIO = "Ratio of the rejections at each working point, and of their geometric means."


def models(results: Mapping[str, Any], drawn: Collection[str]) -> Section:
    """The main table, and the figures of performance against cost."""
    n_classes = len(results["jets_per_class"])
    auc = f"AUC is the area under the ROC curve{', macro average one-vs-one' if n_classes > 2 else ''}."
    if n_classes > MANY_CLASSES:
        auc = f"There is no AUC: for {n_classes} classes it would need {n_classes * (n_classes - 1) // 2} pairs."
    costs = {"rejection_vs_latency": AGAINST.format("latency"), "rejection_vs_flops": AGAINST.format("FLOPs")}
    return Section("Models", [
        tables.main_table(results),
        f"FLOPs are multiply-adds for one jet. {auc}",
        *explain_latency(results),
        *results.get("firmware", []),
        *_figures(drawn, costs),
    ])  # fmt: skip


def settings(results: Mapping[str, Any]) -> Section:
    """The training settings of the models, as far as they are recorded beside the predictions."""
    recorded = any(training for model in results["models"].values() for training in model["trainings"])
    text = (
        "net_record.json beside a prediction holds the settings of its training, named as the options of weaver, and "
        "the versions of the packages. The values of several seeds stand side by side, separated by semicolons."
        if recorded
        else "The training settings are not known, because there is no net_record.json beside the predictions."
    )
    made = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    predictions = [f"{name}: {', '.join(model['files'])}" for name, model in results["models"].items()]
    found = [table for table in tables.settings_tables(results) if table.rows]
    last = f"This report was made with {made}."
    return Section("Settings and versions", ["Predictions:", predictions, text, *found, last], folded=True)


def report(results: Mapping[str, Any], drawn: Collection[str]) -> Report:
    """The content of a report with the figures `drawn`, by their names."""
    heading, definition = explain_rejections(results)
    rejections = [definition, tables.rejection_table(results), *_figures(drawn, {"roc": ROC})]
    ratios = [tables.ratio_table(results), tables.difference_table(results), *_figures(drawn, {"ratio": RATIO})]
    spreads = tables.spread_table(results)
    return Report(
        results["title"] or "Comparison of taggers",
        findings(results),
        [
            models(results, drawn),
            Section(heading, rejections),
            *([Section("Ratios of rejections", ratios)] if results["comparisons"] else []),
            *([published.section(results["published"])] if results["published"] else []),
            *([Section("Standard deviation over seeds", [spreads])] if spreads.rows else []),
            *families(results, drawn),
            Section("Sample", [explain_sample(results)]),
            Section("Uncertainties", [explain_uncertainties(results)]),
            settings(results),
        ],
    )
