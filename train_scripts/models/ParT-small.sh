# shellcheck shell=bash disable=SC2034
# A ParT of 58k parameters, which two CPU cores can train.
network=networks/ParT.py
network_options=(embed_dims "[32,64,32]" pair_embed_dims "[16,16]" num_heads 4 num_layers 3 num_cls_layers 1
    block_params "{'dropout':0,'attn_dropout':0,'activation_dropout':0}")
training_options=(--batch-size 128 --start-lr 3e-3)
cuda_options=()
