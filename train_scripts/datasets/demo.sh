# shellcheck shell=bash disable=SC2034
# Jets simulated here (./train_kd.sh demo), in the format of JetClass.
data_config=data/JetClass/JetClass # + _$TIER.yaml
default_teacher=ParT-small

data_train=("$DATADIR/train/*.parquet")
data_val=("$DATADIR/val/*.parquet")
data_test=("$DATADIR/test/*.parquet")

data_options=(--num-workers 1 --fetch-step 1.0 --in-memory)
epochs=20
samples_per_epoch=12800
samples_per_epoch_val=2048
