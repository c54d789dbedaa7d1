#!/usr/bin/env bash
# usage: train_scripts/train_ssl.sh MODE [--dry-run] [weaver arguments...]
#
# modes
#   pretrain  train MODEL without labels (contrastive) on a fraction of the jets of PRETRAIN_DATASET
#   finetune  fine-tune the pre-trained model on labels; the output layer learns HEAD_RATE times faster than the encoder
#   linear    train the output layer alone; the pre-trained encoder does not change
#   scratch   train the model on labels from random weights
#   scan      pre-train with each PRETRAIN_FRACTION, then train with each FRACTION, mode and seed; writes a table and a plot
#
# Arguments go to weaver and override its settings: train_scripts/train_ssl.sh scan --num-epochs 10
# --dry-run prints the commands of a mode, ready to paste. The same command continues a mode that was stopped.
# A scan is a workflow (train_scripts/Snakefile) of the other modes; it runs the steps that are missing or have changed.
# Results: training/<run>/net_best_epoch_state.pt and pred.root, logs/<run>/train.log, training/<scan>/efficiency.*
#
# settings (environment)
set -euo pipefail
# shellcheck source=train_scripts/common.sh
source "$(dirname "$(readlink -f "$0")")/common.sh"
start "pretrain finetune linear scratch scan" "$@"
paths_of_caller DATADIR PRETRAIN_DATADIR PRETRAINED WEIGHTS
if [[ $mode == scan ]]; then FRACTION=${FRACTION:-0.01 0.03 0.1 0.3 1} SEED=${SEED:-1 2 3}; fi

DATASET=${DATASET:-TopLandscape}                                 # dataset with labels: one of train_scripts/datasets/*.sh
DATADIR=${DATADIR:-datasets/$DATASET}                            # folder of its files
PRETRAIN_DATASET=${PRETRAIN_DATASET:-JetClass}                   # dataset of the pre-training, used without labels
PRETRAIN_DATADIR=${PRETRAIN_DATADIR:-datasets/$PRETRAIN_DATASET} # folder of its files
FILES=${FILES:-}                                                 # found: use the files that exist; each group needs at least one
MODEL=${MODEL:-ParT}                                             # a model of train_scripts/models/*.sh
TIER=${TIER:-kin}                                                # data config of both datasets: kin, kinpid, full, hlt, l1
FRACTION=${FRACTION:-1}                                          # fraction of the labelled jets; several for scan: "0.1 1"
PRETRAIN_FRACTION=${PRETRAIN_FRACTION:-1}                        # fraction of the pre-training jets; several for scan
WEIGHTS=${WEIGHTS:-}                                             # *.auto.yaml with the sampling weights (JetClassII)
PRETRAINED=${PRETRAINED:-}                                       # checkpoint for finetune and linear (default: the one of pretrain)
SEED=${SEED:-1}                                                  # seed of the training; several for scan: "1 2 3"
PRETRAIN_SEED=${PRETRAIN_SEED:-1}                                # seed of the pre-training; each: a scan pre-trains with each SEED
HEAD_RATE=${HEAD_RATE:-10}                                       # finetune: learning rate of the output layer, relative to the encoder
MODES=${MODES:-scratch linear finetune}                          # modes that a scan compares
PRETRAIN_ARGS=${PRETRAIN_ARGS:-}                                 # weaver arguments for the pre-training: "--num-epochs 50"
RUN=${RUN:-}                                                     # name of the run (default: <DATASET>_<MODEL>_<TIER>_...)
COMMENT=${COMMENT:-}                                             # suffix of the run names
RESTART=${RESTART:-no}                                           # yes: train from scratch; changed: only if the settings have changed
JOBS=${JOBS:-1}                                                  # parallel steps of a scan, each on one core; 1: one step on all cores
PROFILE=${PROFILE:-local}                                        # where they run: a profile of train_scripts/profiles, or a folder
DDP_NGPUS=${DDP_NGPUS:-1}                                        # number of GPUs for DDP training
export VENV=${VENV:-.venv}                                       # where to install weaver if it is not in the active environment

need_seeds SEED
need_count DDP_NGPUS 1
need_count JOBS 1
if [[ $PRETRAIN_SEED != each ]]; then need_seeds PRETRAIN_SEED; fi
need_choice RESTART no yes changed
for word in $MODES; do
    [[ $word =~ ^(scratch|linear|finetune)$ ]] || fail "MODES has '$word': valid are scratch linear finetune"
done
for name in FRACTION PRETRAIN_FRACTION; do
    for word in ${!name}; do (declare "$name=$word" && need_number 'x > 0 && x <= 1' 'be above 0 and at most 1' "$name") || exit; done
done
need_number 'x > 0' 'be a number above 0' HEAD_RATE
for name in FRACTION PRETRAIN_FRACTION SEED; do
    [[ $mode == scan || ${!name} != *' '* ]] || fail "$name=${!name} has several values: only scan takes several"
done
need_files PRETRAINED WEIGHTS
need_pretrained

config_of() { # config_of SETTING
    (choose datasets "${!1}" "$1" && need_tier "$TIER" "${!1}" && echo "${data_config}_$TIER.yaml")
}
config=$(config_of DATASET) sample_of=DATASET
if [[ $mode == pretrain || ($mode == scan && ! $PRETRAINED && $MODES != scratch) ]]; then
    unlabelled_config=$(config_of PRETRAIN_DATASET)
fi
if [[ $mode == pretrain ]]; then sample_of=PRETRAIN_DATASET DATADIR=$PRETRAIN_DATADIR; fi
choose datasets "${!sample_of}" $sample_of
choose models "$MODEL" MODEL
[[ $head ]] || fail "train_scripts/models/$MODEL.sh does not name the output layer (head=...)"

pretrained_name=${PRETRAIN_DATASET}_${MODEL}_${TIER}_pretrained_${PRETRAIN_FRACTION}_seed${PRETRAIN_SEED/each/$SEED}$COMMENT
from=_from_${PRETRAIN_DATASET}_$PRETRAIN_FRACTION
if [[ $PRETRAINED || $mode == scratch ]]; then from=''; fi
pretrained=${PRETRAINED:-training/$pretrained_name/net_best_epoch_state.pt}

case $mode in
    pretrain) prepare data_train data_val ;;
    scan) prepare ;;
    *) prepare data_train data_val data_test ;;
esac
encoder=(-o encoder "$(quoted "$network")" "${options[@]}" "${cuda[@]}")
if [[ ${unlabelled_config:-} ]]; then # the pre-trained network must fit the data config of the fine-tuning
    run "${kd[@]}" unlabelled --data-config "$unlabelled_config" --same-inputs-as "$config"
fi

set -- "${arguments[@]}"
case $mode in
    pretrain)
        called "${RUN:-$pretrained_name}"
        run "${kd[@]}" subset --data-config "$unlabelled_config" --unlabelled --fraction "$PRETRAIN_FRACTION" 1 \
            -o "training/$name/unlabelled" --files "${data_train[@]}"
        run "${kd[@]}" check --data-config "training/$name/unlabelled_1.yaml" "${data_train[@]}" "${data_val[@]}"
        read -ra more <<<"$PRETRAIN_ARGS"
        train "${weaver[@]}" "${sample[@]}" "${outputs[@]}" "${training[@]}" \
            --data-config "training/$name/unlabelled_$PRETRAIN_FRACTION.yaml" \
            --data-config-val "training/$name/unlabelled_1.yaml" --network-config networks/contrastive.py \
            "${encoder[@]}" "${seeded[@]}" "${PRETRAIN_SEED/each/$SEED}" "$@" "${more[@]}"
        go_on="${RUN:+PRETRAINED=training/$RUN/net_best_epoch_state.pt }train_scripts/train_ssl.sh finetune"
        [[ $dry_run ]] || echo "next, train it on labels with the same settings: $go_on"
        ;;
    scratch | linear | finetune)
        called "${RUN:-${DATASET}_${MODEL}_${TIER}_$mode${from}_${FRACTION}_seed$SEED$COMMENT}"
        start_lr=$(sed -n 's/.*--start-lr \([^ ]*\).*/\1/p' <<<"${training[*]}")
        case $mode in
            scratch) from_encoder=() ;;
            linear) from_encoder=(-o pretrained "$(quoted "$pretrained")" -o frozen True) ;;
            finetune)
                [[ $start_lr ]] || fail "train_scripts/models/$MODEL.sh does not set --start-lr"
                from_encoder=(-o pretrained "$(quoted "$pretrained")" --optimizer-option lr_mult "('$head', $HEAD_RATE)"
                    --start-lr "$(awk -v lr="$start_lr" -v rate="$HEAD_RATE" 'BEGIN { print lr / rate }')")
                ;;
        esac
        [[ $mode == scratch || $PRETRAINED ]] || is_trained "$pretrained_name" ||
            fail "there is no complete pre-training in training/$pretrained_name: run train_ssl.sh pretrain, or name a checkpoint (PRETRAINED=...)"
        run rm -f "training/$name/pred.root" # it may be left from an earlier training
        run "${kd[@]}" subset --data-config "$config" ${WEIGHTS:+--weights "$WEIGHTS"} --fraction "$FRACTION" 1 \
            -o "training/$name/labelled" --files "${data_train[@]}"
        run "${kd[@]}" check --data-config "$config" "${allowed[@]}" "${data_train[@]}" "${data_val[@]}" "${data_test[@]}"
        # the same schedule for all modes; with weaver's default the learning rate of the encoder would not decay
        train "${weaver[@]}" "${sample[@]}" "${outputs[@]}" "${training[@]}" --lr-scheduler flat+cos --warmup-steps 0 \
            --data-config "training/$name/labelled_$FRACTION.yaml" --data-config-val "training/$name/labelled_1.yaml" \
            --data-config-test "$config" --data-test "${data_test[@]}" --predict-output "$PWD/training/$name/pred.root" \
            --network-config networks/finetune.py "${encoder[@]}" "${from_encoder[@]}" "${seeded[@]}" "$SEED" "$@"
        [[ $dry_run ]] || echo "$name: training/$name/pred.root"
        ;;
    scan)
        settings=()
        for name in DATASET DATADIR PRETRAIN_DATASET PRETRAIN_DATADIR FILES MODEL TIER FRACTION PRETRAIN_FRACTION WEIGHTS \
            PRETRAINED SEED PRETRAIN_SEED HEAD_RATE MODES PRETRAIN_ARGS COMMENT DDP_NGPUS JOBS; do
            settings+=(${!name:+"$name=${!name}"})
        done
        if (($#)); then settings+=("weaver= ${*@Q} "); fi # the spaces protect the quotes, which Snakemake would strip
        cores=$JOBS
        if ((JOBS == 1)); then cores=all; fi # the single step uses all cores
        workflow "training/${DATASET}_${MODEL}_${TIER}_scan$COMMENT" "$cores" --config scan=yes "${settings[@]}"
        ;;
esac
