# shellcheck shell=bash disable=SC2034
# Simulated jets to train with, jets of the public benchmark (PUBLIC_JETS) to test with: train_scripts/studies/public.yaml.
source train_scripts/datasets/TopLandscape.sh
data_test=("${PUBLIC_JETS:-no PUBLIC_JETS}")
