#!/usr/bin/env bash
# Sophon on JetClass-II (arXiv 2405.12972), with the modes, settings, file ranges and outputs of the original script.
#
# usage: train_scripts/train_sophon.sh MODE [--dry-run] [weaver arguments...]
#
# modes
#   make_weight  compute the sampling weights from the training and validation files, before any training
#   train        train Sophon: 188 classes, 80 epochs of 10000*1024 jets
#   convert      export the best epoch to ONNX, with its embedding (-o export_embed True), and compare it with torch
#
# Results: training/JetClassII_<MODEL>/net_best_epoch_state.pt, logs/JetClassII_<MODEL>/
# To use it as teacher: TEACHER_WEIGHTS=training/JetClassII_Sophon/net_best_epoch_state.pt ./train_kd.sh train
#
# settings (environment)
set -euo pipefail
# shellcheck source=train_scripts/common.sh
source "$(dirname "$(readlink -f "$0")")/common.sh"
start "make_weight train convert" "$@"
paths_of_caller DATADIR

DATADIR=${DATADIR:-datasets/JetClassII} # folder of JetClass-II
MODEL=${MODEL:-Sophon}                  # Sophon, or Sophon-small, which trains on two CPU cores in one to two hours
FILES=${FILES:-}                        # found: use the files that exist; each group needs at least one
COMMENT=${COMMENT:-}                    # suffix of the run name
SEED=${SEED:-1}                         # seed of the training
RESTART=${RESTART:-no}                  # yes: train from scratch; changed: only if the settings have changed
DDP_NGPUS=${DDP_NGPUS:-1}               # number of GPUs for DDP training; scale the learning rate with it
export VENV=${VENV:-.venv}              # where to install weaver if it is not in the active environment

need_seeds SEED
need_count DDP_NGPUS 1
need_choice RESTART no yes changed
choose datasets JetClassII DATASET
choose models "$MODEL" MODEL
if [[ $mode == convert ]]; then prepare data_val; else prepare data_train data_val; fi
called "JetClassII_$MODEL$COMMENT"
config=${data_config}_full.yaml
if [[ $mode != convert ]]; then check "$config"; fi

case $mode in
    make_weight)
        split_options "${arguments[@]}"
        run "${weaver[@]}" --print --custom-functions train_scripts/whole.py --data-train "${data_train[@]#*:}" "${data_val[@]}" \
            --data-config "$config" "${data_options[@]}" --network-config "$network" "${options[@]}" "${device[@]}" \
            --model-prefix "training/$name/net" --log-file "logs/$name/make_weight.log" "${net_options[@]}" "${others[@]}"
        ;;
    train)
        train "${weaver[@]}" "${sample[@]}" "${training[@]}" "${cuda[@]}" "${outputs[@]}" --data-config "$config" \
            --network-config networks/supervised.py -o network "$(quoted "$network")" "${options[@]}" \
            "${seeded[@]}" "$SEED" "${arguments[@]}"
        ;;
    convert)
        need_whole "training/$name/net_best_epoch_state.pt"
        run weaver --data-config "$config" --network-config "$network" "${options[@]}" -o export_embed True \
            --model-prefix "training/$name/net_best_epoch_state.pt" --export-onnx "training/$name/model.onnx" "${arguments[@]}"
        run "${kd[@]}" deploy "training/$name" "${data_val[@]}" --network "$network" "${options[@]}" -o export_embed True \
            --weights "training/$name/net_best_epoch_state.pt" --data-config "$config"
        ;;
esac
