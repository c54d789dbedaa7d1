# shellcheck shell=bash disable=SC2034
# Interaction network, linear in the number of particles: the best tagger per FLOP among those measured.
network=networks/InteractionNet.py
options=()
training=(--batch-size 512 --start-lr 1e-2)
cuda=()
kd_alpha=0.7 kd_temperature=3.0 # no loss of performance in docs/measurements/jetclass.md
head='mod.fc.*' # of the output layer, for fine-tuning
