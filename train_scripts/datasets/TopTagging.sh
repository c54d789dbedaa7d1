# shellcheck shell=bash disable=SC2034
# Top tagging with the inputs of Sophon, to fine-tune it: t -> bqq against QCD of JetClass, or simulated (simulate jetclass).
data_config=data/JetClass/TopTagging # + _$TIER.yaml

for class in Tbqq QCD; do
    data_train+=("$class:$DATADIR/train/$class*.parquet")
    data_val+=("$DATADIR/val/$class*.parquet")
    data_test+=("$DATADIR/test/$class*.parquet")
done

data_options=(--num-workers 1 --fetch-step 1.0 --in-memory)
epochs=20
samples_per_epoch=10000
samples_per_epoch_val=1500
