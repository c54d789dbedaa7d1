# shellcheck shell=bash disable=SC2034
# Sophon (arXiv 2405.12972): ParT with a larger head for the 188 classes of JetClass-II.
network=networks/ParT.py
network_options=(fc_params "[(512,0.1)]")
training_options=(--batch-size 512 --start-lr 5e-4)
cuda_options=(--use-amp)
