"""Pre-train a network on jets without labels, inside weaver's own training loop.

    weaver --network-config networks/contrastive.py --data-config JetClass_kin.yaml
        -o encoder "'networks/ParT.py'" ...

Each augmented view of a jet must find the other view of the same jet among all views of the batch. The accuracy in the
log is the fraction of correct matches. Options: encoder, cl_temperature, cl_projection, cl_val_jets, aug_*, seed
(docs/reference/options.md); all others go to the encoder's network. The checkpoint loads into that network with
--load-model-weights.
"""

from kd_trainer.pretrain.hooks import get_evaluate_fn, get_loss, get_model, get_train_fn, init_opt

__all__ = ["get_evaluate_fn", "get_loss", "get_model", "get_train_fn", "init_opt"]
