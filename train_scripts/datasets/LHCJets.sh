# shellcheck shell=bash disable=SC2034
# LHC jets of hls4ml with 150 particles (zenodo 3602260): five classes; the converted public files in folders train and test, or simulated jets, also in a folder val.
data_config=data/LHCJets/LHCJets # + _$TIER.yaml
default_teacher_tier=kin
default_tier=kin16

data_train=("$DATADIR/train/*.parquet")
data_val=()
if [[ -d $DATADIR/val ]]; then data_val=("$DATADIR/val/*.parquet"); fi # else a tenth of the training files
data_test=("$DATADIR/test/*.parquet")

data_options=(--num-workers 1 --fetch-step 1 --in-memory --train-val-split 0.9)
epochs=20
samples_per_epoch=$((1090 * 512))
samples_per_epoch_val=$((121 * 512))
