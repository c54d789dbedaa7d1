"""Data efficiency: what a tagger learns from few labels, with a pre-trained encoder and without one.

For small samples, held in memory and trained here without weaver's loop, so that many short trainings cost no start-up:
`scratch`, `finetune` (all weights from the encoder, the new output layer learns faster), and `linear` (the encoder
frozen and in evaluation mode). Labelled subsets are fixed and nested: the first jets of one shuffled order.
"""

import argparse
import glob
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tabulate import tabulate
from weaver.utils.dataset import _load_next

from kd_trainer.distill.hooks import set_seed
from kd_trainer.distill.teacher import read_weights
from kd_trainer.errors import InputError
from kd_trainer.evaluate.complexity import load_data_config, load_network, parse_options
from kd_trainer.evaluate.metrics import auc_influence
from kd_trainer.pretrain.contrastive import output_layer

MODES = ("scratch", "finetune", "linear")
ORDER_SEED = 5
CHECKS = 20  # looks at the validation jets in a training


def read_jets(config, pattern):
    """Inputs (list of (N, C, P) tensors) and labels (N,) of all jets in files, in one shuffled order."""
    files = sorted(glob.glob(pattern))
    if not files:
        raise InputError(f"there is no file {pattern}")
    options = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
    table, indices = _load_next(config, files, None, options)
    order = np.random.default_rng(ORDER_SEED).permutation(indices)
    labels = torch.from_numpy(table[config.label_names[0]][order].astype("int64"))
    return [torch.from_numpy(table["_" + name][order]) for name in config.input_names], labels


def start(model, mode, weights):
    """Give the model its starting weights; returns parameter groups as (parameters, factor of the learning rate)."""
    _, head = output_layer(model)
    new = set(head.parameters())
    if mode == "scratch":
        return [(list(model.parameters()), 1.0)]
    missing, _ = model.load_state_dict(weights, strict=False)
    if not set(missing) <= {name for name, p in model.named_parameters() if p in new}:
        raise InputError(f"the pre-trained weights lack {', '.join(missing)}: they are of another network")
    if mode == "linear":
        model.requires_grad_(False)
        head.requires_grad_(True)
        return [(list(new), 1.0)]
    return [([p for p in model.parameters() if p not in new], 0.1), (list(new), 1.0)]


def scores_of(model, inputs, size=1000):
    """Logits (N, K), in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(*batch) for batch in zip(*(x.split(size) for x in inputs))])


def train(model, mode, groups, train_jets, val_jets, *, steps, batch_size, lr):
    """AdamW with a cosine schedule; the model ends with the weights of the smallest validation loss."""
    inputs, labels = train_jets
    optimizer = torch.optim.AdamW([{"params": p, "lr": lr * factor} for p, factor in groups], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, queue = (np.inf, None), torch.empty(0, dtype=torch.long)
    for step in range(1, steps + 1):
        if len(queue) < min(batch_size, len(labels)):
            queue = torch.randperm(len(labels))
        batch, queue = queue[:batch_size], queue[batch_size:]
        model.train(mode != "linear")
        loss = F.cross_entropy(model(*(x[batch] for x in inputs)), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(steps // CHECKS, 1) == 0:
            val_loss = F.cross_entropy(scores_of(model, val_jets[0]), val_jets[1]).item()
            if val_loss < best[0]:
                best = val_loss, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(best[1])


def figures(model, jets):
    """Accuracy and AUC (mean over pairs of classes) on test jets."""
    inputs, labels = jets
    scores = scores_of(model, inputs).softmax(dim=1).numpy()
    area, _ = auc_influence(labels.numpy(), scores)
    return {"accuracy": float((scores.argmax(axis=1) == labels.numpy()).mean()), "auc": float(area)}


def summary(rows):
    """Table with mean and standard deviation over seeds of the accuracy and the AUC."""
    lines = []
    for labels, mode in sorted({(row["labels"], row["mode"]) for row in rows}):
        group = [row for row in rows if (row["labels"], row["mode"]) == (labels, mode)]
        cells = []
        for name in ("accuracy", "auc"):
            values = [row[name] for row in group]
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4f}{spread}")
        lines.append([labels, mode, len(group), *cells])
    return tabulate(lines, ["labels", "start", "seeds", "accuracy", "AUC"], tablefmt="github", disable_numparse=True)


def main(argv):
    """python -m kd_trainer efficiency"""
    parser = argparse.ArgumentParser(prog="kd_trainer efficiency", description=__doc__.splitlines()[0])
    parser.add_argument("--network", required=True, metavar="FILE", help="network file of the tagger")
    parser.add_argument("--data-config", required=True, metavar="CFG", help="with labels")
    parser.add_argument("--pretrained", metavar="PT", help="checkpoint of networks/contrastive.py")
    for split in ("train", "val", "test"):
        parser.add_argument(f"--data-{split}", required=True, metavar="PATTERN")
    parser.add_argument("--labels", type=int, nargs="+", required=True, help="numbers of labelled jets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--steps", type=int, default=400, help="of a training, for every number of labels")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=3e-3, help="of the output layer; finetune: a tenth for the encoder")
    parser.add_argument("-o", "--network-option", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="a line a training; done ones stay")
    args = parser.parse_args(argv)
    if args.pretrained is None and set(args.modes) != {"scratch"}:
        raise InputError("finetune and linear start from a pre-trained encoder: name it with --pretrained")
    config = load_data_config(args.data_config)
    splits = [read_jets(config, pattern) for pattern in (args.data_train, args.data_val, args.data_test)]
    if max(args.labels) > len(splits[0][1]):
        raise InputError(f"there are {len(splits[0][1])} labelled jets, not {max(args.labels)}")
    weights = read_weights(args.pretrained) if args.pretrained else None
    recipe = json.dumps([str(value) for name, value in sorted(vars(args).items())
                         if name not in ("labels", "seeds", "modes", "output")])  # fmt: skip
    rows = [json.loads(line) for line in args.output.read_text().splitlines()] if args.output.exists() else []
    done = {(row["labels"], row["mode"], row["seed"]) for row in rows if row["recipe"] == recipe}
    for labels, seed, mode in ((n, s, m) for n in args.labels for s in args.seeds for m in args.modes):
        if (labels, mode, seed) in done:
            continue
        set_seed(seed)
        model, _ = load_network(args.network, config, parse_options(args.network_option))
        groups = start(model, mode, weights)
        subset = [x[:labels] for x in splits[0][0]], splits[0][1][:labels]
        train(model, mode, groups, subset, splits[1], steps=args.steps, batch_size=args.batch_size, lr=args.lr)
        rows.append({"labels": labels, "mode": mode, "seed": seed, **figures(model, splits[2]), "recipe": recipe})
        with args.output.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    print(summary([row for row in rows if row["recipe"] == recipe]))
