"""Draw docs/gain.svg, the picture of README.md, from docs/measurements/unlabelled.json: python docs/gain.py"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
STUDENTS = {"dense": ("dense network", "#e76300", 23), "InteractionNet": ("interaction network", "#3f90da", 51)}


def main() -> None:
    results = json.loads((HERE / "measurements" / "unlabelled.json").read_text())
    jets = results["training_jets"] | {"": 0}
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"})
    figure, ax = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    for student, (label, colour, height) in STUDENTS.items():
        own = [c for c in results["cells"] if (c["role"], c["student"], c["sample"]) == ("student", student, "10k")]
        (twin,) = (cell for cell in own if cell["arm"] == "labels")
        (best,) = (cell for cell in own if cell["arm"].startswith("ensemble"))  # three teachers, averaged
        taught = sorted((cell for cell in own if cell["arm"].startswith("large")), key=lambda c: jets[c["unlabelled"]])
        assert taught[-1]["unlabelled"] == best["unlabelled"]
        x = range(len(taught))
        y, error = zip(*((cell["rejection"]["value"], cell["rejection"]["total"]) for cell in taught))
        ax.errorbar(x, y, error, color=colour, marker="o", linewidth=2, capsize=3)
        ax.errorbar(x[-1] + 0.08, best["rejection"]["value"], best["rejection"]["total"], color=colour, marker="*",
                    markersize=13, capsize=3)  # fmt: skip
        ax.axhline(twin["rejection"]["value"], color=colour, linestyle="--", linewidth=1.5)
        ratio = best["ratio"]["rejection"]
        gain = f"{label}: {ratio['value']:.2f} ± {ratio['total']:.2f} times its twin"
        ax.text(x[-1], height, gain, ha="right", color=colour)
        ax.annotate("twin, labels alone", (x[-1], twin["rejection"]["value"]), (0, -14), textcoords="offset points",
                    ha="right", color=colour, fontsize=9)  # fmt: skip
    ax.set_xticks(x, [f"{jets[cell['unlabelled']]:,}" for cell in taught])
    ax.set_xlabel("Jets without labels, beside 10,000 with labels")
    ax.set_ylabel("Background rejection")
    ax.set_ylim(0, 56)
    ax.set_title("● one teacher   ★ three teachers, averaged", loc="left", fontsize=10)
    figure.savefig(HERE / "gain.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
