# shellcheck shell=bash disable=SC2034
# PFN with about a thousand parameters.
source train_scripts/models/PFN.sh
options=(-o phi_dims "[16,16]" -o rho_dims "[16]")
