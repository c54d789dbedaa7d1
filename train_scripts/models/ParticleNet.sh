# shellcheck shell=bash disable=SC2034
# ParticleNet in the published size, 370k parameters.
network=networks/ParticleNet.py
options=()
training=(--batch-size 512 --start-lr 1e-2)
cuda=()
head='mod.fc.1.*' # of the output layer, for fine-tuning
