# shellcheck shell=bash disable=SC2034
# A ParT with 160k parameters, which two CPU cores can train. It has few heads and no dropout, which are slow on a CPU.
network=networks/ParT.py
options=(-o embed_dims "[64,64]" -o pair_embed_dims "[16]" -o num_heads 2 -o num_layers 2 -o num_cls_layers 1
    -o block_params "{'dropout':0,'attn_dropout':0,'activation_dropout':0}")
training=(--batch-size 64 --start-lr 5e-3)
cuda=()
head='mod.fc.*' # of the output layer, for fine-tuning
