# shellcheck shell=bash disable=SC2034
# Quark/gluon benchmark (arXiv 1810.05165): the converted public files, or folders train, val, test of simulated jets.
data_config=data/QuarkGluon/QuarkGluon # + _$TIER.yaml
default_teacher_tier=kinpid

data_options=(--num-workers 1 --fetch-step 1 --in-memory)
if [[ -d $DATADIR/train ]]; then
    data_train=("$DATADIR/train/*.parquet")
    data_val=("$DATADIR/val/*.parquet")
    data_test=("$DATADIR/test/*.parquet")
else
    data_train=("$DATADIR/train_file_*.parquet")
    data_val=()
    data_test=("$DATADIR/test_file_*.parquet")
    data_options+=(--train-val-split 0.8889)
fi

epochs=20
samples_per_epoch=1600000
samples_per_epoch_val=200000
