# shellcheck shell=bash disable=SC2034
# Trains on simulated jets, tests on jets of the public benchmark (PUBLIC_JETS); used by train_scripts/studies/public.yaml.
source train_scripts/datasets/TopLandscape.sh
data_test=("${PUBLIC_JETS:-no PUBLIC_JETS}")
