# shellcheck shell=bash disable=SC2034
# Sophon (arXiv 2405.12972): ParT with a larger head for the 188 classes of JetClass-II.
network=networks/Sophon.py
options=()
training=(--batch-size 512 --start-lr 5e-4)
cuda=(--use-amp)
head='mod.fc.1.*' # of the output layer, for fine-tuning
