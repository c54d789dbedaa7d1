# shellcheck shell=bash disable=SC2034
# A small ParticleNet as student: two narrow EdgeConv blocks with 7 neighbours.
network=networks/ParticleNet.py
options=(-o conv_params "[(7,(32,32,32)),(7,(64,64,64))]" -o fc_params "[(128,0.1)]")
training=(--batch-size 512 --start-lr 5e-3)
cuda=()
head='mod.fc.1.*' # of the output layer, for fine-tuning
