# shellcheck shell=bash disable=SC2034
# JetClass-II (arXiv 2405.12972): 188 classes, parquet files in three groups.
data_config=data/JetClassII/JetClassII # + _$TIER.yaml
default_teacher=Sophon

numbered() { # numbered GROUP FIRST LAST: the files of a group
    local i
    for i in $(seq -f %04g "$2" "$3"); do echo "$DATADIR/Pythia/$1_$i.parquet"; done
}
named() { numbered "$@" | sed "s|^|$1:|"; }

mapfile -t data_train < <(named Res2P 0 199; named Res34P 0 859; named QCD 0 279)
mapfile -t data_val < <(numbered Res2P 200 249; numbered Res34P 860 1074; numbered QCD 280 349)
mapfile -t data_test < <(numbered Res2P 250 299; numbered Res34P 1075 1289; numbered QCD 350 419)

data_options=(--num-workers 5 --fetch-step 1.0 --data-split-num 200)
epochs=80
samples_per_epoch=$((10000 * 1024))
samples_per_epoch_val=$((2500 * 1024))
