"""Train any network file on labels, inside weaver's own training loop, with a seed and so that it can be interrupted.

    weaver --network-config networks/supervised.py --data-config JetClass_full.yaml
        -o network "'networks/ParT.py'" -o seed 1 ...

Options: network; seed; restart ("'no'", "'yes'", "'changed'"), see docs/reference/options.md; all others go to the
network. The checkpoint predicts and exports in plain weaver with the network's own file.
"""

from kd_trainer.supervised import get_evaluate_fn, get_loss, get_model, get_train_fn, init_opt

__all__ = ["get_evaluate_fn", "get_loss", "get_model", "get_train_fn", "init_opt"]
