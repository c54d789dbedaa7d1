# shellcheck shell=bash disable=SC2034
# A Sophon with 270k parameters, which two CPU cores can train in one to two hours.
network=networks/Sophon.py
options=(-o embed_dims "[64,64]" -o pair_embed_dims "[16]" -o num_heads 4 -o num_layers 3 -o num_cls_layers 1 -o fc_params "[(256,0)]"
    -o block_params "{'dropout':0,'attn_dropout':0,'activation_dropout':0}")
training=(--batch-size 128 --start-lr 3e-3)
cuda=()
head='mod.fc.1.*' # of the output layer, for fine-tuning
