# shellcheck shell=bash disable=SC2034
# JetClass-II for a trigger on X -> bb and X -> cc: its 188 classes in four groups (X_bb, X_cc, QCD, all others).
source train_scripts/datasets/JetClassII.sh
data_config=data/JetClassII/XbbXcc # + _$TIER.yaml
report_options=(--signals X_bb X_cc X_cc/X_bb)
