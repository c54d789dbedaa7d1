# shellcheck shell=bash disable=SC2034
# Interaction network of a thousand parameters, for firmware: 16 candidates below 100 ns.
source train_scripts/models/InteractionNet.sh
options=(-o dims "[16,16]" -o rho_dims "[16]")
