"""Train a tagger on labels, inside weaver's own training loop: from a pre-trained encoder, or from scratch.

    weaver --network-config networks/finetune.py --data-config TopLandscape_kin.yaml
        -o encoder "'networks/ParT.py'" -o pretrained "'pretrained/net_best_epoch_state.pt'" ...

Options: encoder, the network file; pretrained, a checkpoint for all layers but the output layer; frozen, True to train
the output layer alone; seed. All others go to the encoder's network. Plain weaver predicts with the checkpoint and
exports it, with the encoder's own network file.
"""

from kd_trainer.pretrain.finetune import get_evaluate_fn, get_loss, get_model, get_train_fn, init_opt

__all__ = ["get_evaluate_fn", "get_loss", "get_model", "get_train_fn", "init_opt"]
