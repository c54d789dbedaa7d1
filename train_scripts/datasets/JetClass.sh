# shellcheck shell=bash disable=SC2034
# JetClass (arXiv 2202.03772): ten classes, ROOT files, one group of files for each class.
data_config=data/JetClass/JetClass # + _$TIER.yaml

data_train=()
data_test=()
for process in HToBB HToCC HToGG HToWW2Q1L HToWW4Q TTBar TTBarLep WToQQ ZToQQ ZJetsToNuNu; do
    data_train+=("$process:$DATADIR/Pythia/train_100M/${process}_*.root")
    data_test+=("$DATADIR/Pythia/test_20M/${process}_*.root")
done
data_val=("$DATADIR/Pythia/val_5M/*.root")

data_options=(--num-workers 2 --fetch-step 0.01)
epochs=50
samples_per_epoch=$((10000 * 1024))
samples_per_epoch_val=$((10000 * 128))
