"""python -m kd_trainer bench augment: the time for two augmented views, compared with the training step on them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kd_trainer.arguments import check_at_least, parse_options, write_output
from kd_trainer.bench.network import random_jets, real_jets
from kd_trainer.evaluate.complexity import count_parameters, load_data_config, load_network
from kd_trainer.files import si
from kd_trainer.jet_files import files_of
from kd_trainer.machine import described, machine
from kd_trainer.timing import alternate, ratio, spread, text

if TYPE_CHECKING:
    import torch
    from weaver.utils.dataset import DataConfig

    from kd_trainer.augment.views import Views


def sides(
    config: DataConfig, model: torch.nn.Module, info: Mapping[str, Any], X: dict[str, torch.Tensor], views: Views
) -> dict[str, Callable[[], None]]:
    """A function that makes two views of jets X (N, C, P), and one that trains on them: forward, backward, AdamW."""
    import torch

    from kd_trainer.pretrain.contrastive import as_contrastive, nt_xent, partners
    from kd_trainer.pretrain.loop import join
    from kd_trainer.pretrain.options import Options

    device = "cuda" if torch.cuda.is_available() else "cpu"
    X = {name: values.to(device) for name, values in X.items()}
    model = as_contrastive(model, projection=Options.cl_projection, temperature=0.1).to(device).train()
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=1e-4), nt_xent
    batch = join(views(X))
    inputs, labels = [batch[name] for name in info["input_names"]], partners(len(X["pf_mask"]), device=device)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def augment() -> None:
        join(views(X))
        wait()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model(*inputs), labels).backward()
        optimizer.step()
        wait()

    return {"views": augment, "step": step}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All results as plain numbers: dict."""
    import torch

    from kd_trainer.augment.features import Inputs
    from kd_trainer.augment.views import Views
    from kd_trainer.pretrain.options import Options

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
        "augmentations": views.options.describe(),
        "seconds": {name: spread(found) for name, found in seconds.items()},
        "views / step": ratio(seconds["step"], seconds["views"]),
    }


def main(argv: Sequence[str]) -> None:
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench augment",
        description="Measure the time for two augmented views of a batch of jets and for a training step of the "
        "encoder on them, alternately.",
    )
    add = parser.add_argument
    add("--network", default="networks/ParT.py", metavar="NET.py", help="network of the encoder (default: %(default)s)")
    add("-o", "--network-option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    add("--data-config", default="data/JetClass/JetClass_full.yaml", metavar="CFG.yaml", help="default: %(default)s")
    add("files", nargs="*", metavar="FILE", help="files of jets (default: random jets, as long as those of JetClass)")
    add("--jets", type=int, default=32, metavar="N", help="jets per batch (default: %(default)s)")
    add("--repetitions", type=int, default=5, metavar="R", help="measurements of each side (default: %(default)s)")
    add("--threads", type=int, metavar="T", help="threads of torch (default: chosen by torch)")
    add("--output", metavar="FILE.json", help="write all numbers to this file")
    args = parser.parse_args(argv)
    check_at_least(2, args, "jets")
    check_at_least(1, args, "repetitions")
    args.files = files_of(args.files)
    results = measure(args)
    print(f"{described(results['machine'])}; {args.network} ({si(results['parameters'])} parameters), "
          f"{results['jets']} jets")  # fmt: skip
    print(f"augmentations: {results['augmentations']}")
    for name, what in (("views", "two views"), ("step", "training step")):
        print(f"{what}: {text({key: 1e3 * x for key, x in results['seconds'][name].items()}, 4)} ms")
    print(f"views / step = {text(results['views / step'])}")
    write_output(args, results)
