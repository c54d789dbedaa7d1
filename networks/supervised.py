"""Train any network file on labels, inside weaver's own training loop, with a seed and the possibility to resume.

    weaver --network-config networks/supervised.py --data-config JetClass_full.yaml
        -o network "'networks/ParT.py'" -o seed 1 ...

Options: network, seed and restart ("'no'", "'yes'", "'changed'"), see docs/reference/options.md; all others go to the
network. Plain weaver predicts with the checkpoint and exports it, with the network's own file.
"""

from kd_trainer.supervised import get_evaluate_fn, get_loss, get_model, get_train_fn, init_opt

__all__ = ["get_evaluate_fn", "get_loss", "get_model", "get_train_fn", "init_opt"]
