# shellcheck shell=bash disable=SC2034
# AspenOpenJets (arXiv 2412.10504): converted CMS jets without labels, for pretrain and LABELS=no. Data configs of JetClass-II.
data_config=data/JetClassII/JetClassII # + _$TIER.yaml

data_train=("$DATADIR/*.parquet")
data_val=()
data_test=()

data_options=(--num-workers 2 --fetch-step 0.01 --train-val-split 0.95)
epochs=50
samples_per_epoch=$((10000 * 1024))
samples_per_epoch_val=$((10000 * 128))
