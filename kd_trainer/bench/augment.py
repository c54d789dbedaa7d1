"""python -m kd_trainer bench augment: what two augmented views cost beside the training step that they are for."""

import argparse
from statistics import median

from kd_trainer.bench.network import random_jets, real_jets
from kd_trainer.errors import InputError
from kd_trainer.evaluate.complexity import count_parameters, load_data_config, load_network, parse_options
from kd_trainer.files import si, write_json
from kd_trainer.machine import machine
from kd_trainer.timing import alternate, ratio


def sides(config, model, info, X, views):
    """A function that makes two views of all jets, and one that trains on them once: forward, backward, AdamW.

    Parameters
    ----------
    config : DataConfig
    model, info : of the encoder's network file
    X : dict of (N, C, P)
    views : pretrain.views.Views
    """
    import torch

    from kd_trainer.pretrain.contrastive import NTXent, as_contrastive, partners
    from kd_trainer.pretrain.loop import join

    device = "cuda" if torch.cuda.is_available() else "cpu"
    X = {name: values.to(device) for name, values in X.items()}
    model = as_contrastive(model, projection=views.options.cl_projection, temperature=0.1).to(device).train()
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=1e-4), NTXent()
    batch = join(views(X))
    inputs, labels = [batch[name] for name in info["input_names"]], partners(len(X["pf_mask"]), device=device)

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    def augment():
        join(views(X))
        wait()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(model(*inputs), labels).backward()
        optimizer.step()
        wait()

    return {"views": augment, "step": step}


def measure(args):
    """Everything that is printed, as plain numbers: dict."""
    import torch

    from kd_trainer.pretrain.features import Inputs
    from kd_trainer.pretrain.options import Options
    from kd_trainer.pretrain.views import Views

    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    config, options = load_data_config(args.data_config), parse_options(args.network_option)
    model, info = load_network(args.network, config, options)
    parameters = count_parameters(model)
    X = real_jets(config, args.files, args.jets) if args.files else random_jets(config.input_shapes, args.jets)
    views = Views(Inputs(config), Options(args.network))
    seconds = alternate(sides(config, model, info, X, views), args.repetitions)
    return {
        "machine": machine(),
        "network": args.network,
        "options": options,
        "parameters": parameters,
        "data_config": args.data_config,
        "jets": len(X["pf_mask"]),
        "augmentations": views.describe(),
        "seconds": {
            name: {"median": median(found), "lowest": min(found), "highest": max(found)}
            for name, found in seconds.items()
        },
        "views / step": ratio(seconds["step"], seconds["views"]),
    }


def main(argv):
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench augment",
        description="Time for two augmented views of a batch of jets, and for a training step of the encoder on them, "
        "measured alternately.",
    )
    add = parser.add_argument
    add("--network", default="networks/ParT.py", metavar="NET.py", help="of the encoder (default: %(default)s)")
    add("-o", "--network-option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    add("--data-config", default="data/JetClass/JetClass_full.yaml", metavar="CFG.yaml", help="default: %(default)s")
    add("files", nargs="*", metavar="FILE", help="jets to use; without: random ones, of the lengths of JetClass")
    add("--jets", type=int, default=32, metavar="N", help="jets of a batch (default: %(default)s)")
    add("--repetitions", type=int, default=5, metavar="R", help="turns of each side (default: %(default)s)")
    add("--threads", type=int, metavar="T", help="threads of torch (default: its own)")
    add("--output", metavar="FILE.json", help="write all numbers")
    args = parser.parse_args(argv)
    for name, least in (("jets", 2), ("repetitions", 1)):
        if getattr(args, name) < least:
            raise InputError(f"--{name} has to be at least {least}")
    results = measure(args)
    where = results["machine"]
    print(f"{where['gpu'] or where['processor']}, {where['threads']} threads, torch {where['torch']}; "
          f"{args.network} ({si(results['parameters'])} parameters), {results['jets']} jets")  # fmt: skip
    print(f"augmentations: {results['augmentations']}")
    for name, text in (("views", "two views"), ("step", "training step")):
        found = results["seconds"][name]
        print(f"{text}: {1e3 * found['median']:.4g} ms ({1e3 * found['lowest']:.4g} to {1e3 * found['highest']:.4g})")
    share = results["views / step"]
    print(f"views / step = {share['median']:.3g} ({share['lowest']:.3g} to {share['highest']:.3g})")
    if args.output:
        write_json(args.output, results)
        print(args.output)
