# shellcheck shell=bash disable=SC2034
# COLLIDE-2V, converted by `python -m kd_trainer convert collide2v`: four flavours; each jet as seen offline and at Level-1.
data_config=data/Collide2V/Collide2V # + _$TIER.yaml
default_teacher_tier=offline

data_train=("$DATADIR/train/*.parquet")
data_val=()
data_test=("$DATADIR/test/*.parquet")

report_options=(--background light)
data_options=(--num-workers 2 --fetch-step 0.1 --train-val-split 0.8889)
epochs=20
samples_per_epoch=$((2000 * 512))
samples_per_epoch_val=$((250 * 512))
