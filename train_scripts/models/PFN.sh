# shellcheck shell=bash disable=SC2034
# Deep Sets, small enough for a trigger.
network=networks/PFN.py
options=()
training=(--batch-size 512 --start-lr 1e-2)
cuda=()
kd_alpha=0.5 kd_temperature=1.0 # least harmful values in docs/measurements/jetclass.md
head='mod.fc.*' # of the output layer, for fine-tuning
