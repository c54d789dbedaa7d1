# shellcheck shell=bash disable=SC2034
# Dense network on the 16 leading particles.
network=networks/dense.py
options=()
training=(--batch-size 512 --start-lr 5e-3)
cuda=()
kd_alpha=0.7 kd_temperature=3.0 # among the best values in docs/measurements/jetclass.md
head='mod.fc.5.*' # of the output layer, for fine-tuning
