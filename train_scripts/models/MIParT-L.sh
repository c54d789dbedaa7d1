# shellcheck shell=bash disable=SC2034
# MIParT-Large (arXiv 2407.08682), for pre-training on JetClass.
network=networks/MIParT.py
options=(-o embed_dims "[128,512,128]" -o pair_embed_dims "[128,128,128]")
training=(--batch-size 512 --start-lr 1e-3)
cuda=(--use-amp)
head='mod.fc.*' # of the output layer, for fine-tuning
