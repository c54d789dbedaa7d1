# shellcheck shell=bash disable=SC2034
# Top-tagging benchmark (arXiv 1902.09914): the converted public files, or folders train, val, test of simulated jets.
data_config=data/TopLandscape/TopLandscape # + _$TIER.yaml
default_teacher_tier=kin

if [[ -d $DATADIR/train ]]; then
    data_train=("$DATADIR/train/*.parquet")
    data_val=("$DATADIR/val/*.parquet")
    data_test=("$DATADIR/test/*.parquet")
else
    data_train=("$DATADIR/train_file.parquet")
    data_val=("$DATADIR/val_file.parquet")
    data_test=("$DATADIR/test_file.parquet")
fi

data_options=(--num-workers 1 --fetch-step 1 --in-memory)
epochs=20
samples_per_epoch=$((2400 * 512))
samples_per_epoch_val=$((800 * 512))
