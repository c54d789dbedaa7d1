# shellcheck shell=bash disable=SC2034
# Particle Transformer in the published size, 2.1M parameters; -o fc_params "[(512,0.1)]" makes it Sophon.
network=networks/ParT.py
options=()
training=(--batch-size 512 --start-lr 1e-3)
cuda=(--use-amp)
head='mod.fc.*' # of the output layer, for fine-tuning
