# shellcheck shell=bash disable=SC2034
# Interaction network with 50k parameters, between the small student and a transformer in size.
network=networks/InteractionNet.py
options=(-o dims "(96,96,96)")
training=(--batch-size 512 --start-lr 5e-3)
cuda=()
kd_alpha=0.7 kd_temperature=3.0 # no loss of performance in docs/measurements/jetclass.md
head='mod.fc.*' # of the output layer, for fine-tuning
