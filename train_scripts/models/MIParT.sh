# shellcheck shell=bash disable=SC2034
# MIParT (arXiv 2407.08682) in the size of the benchmarks.
network=networks/MIParT.py
options=()
training=(--batch-size 512 --start-lr 1e-3)
cuda=(--use-amp)
head='mod.fc.*' # of the output layer, for fine-tuning
