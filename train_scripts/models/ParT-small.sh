# shellcheck shell=bash disable=SC2034
# A ParT of 160k parameters, which two CPU cores can train. Few heads and no dropout: they cost most on a CPU.
network=networks/ParT.py
network_options=(embed_dims "[64,64]" pair_embed_dims "[16]" num_heads 2 num_layers 2 num_cls_layers 1
    block_params "{'dropout':0,'attn_dropout':0,'activation_dropout':0}")
training_options=(--batch-size 64 --start-lr 5e-3)
cuda_options=()
head='mod.fc.*' # of the output layer, for fine-tuning
