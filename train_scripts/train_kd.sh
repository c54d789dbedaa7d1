#!/usr/bin/env bash
# usage: ./train_kd.sh MODE [--dry-run] [weaver arguments...]
#
# modes
#   make_weight  compute the sampling weights if the data config of the dataset asks for them (before any training)
#   teacher      train a teacher at full resolution
#   pretrain     train TEACHER on the training files without labels (contrastive pre-training)
#   finetune     fine-tune a teacher from the checkpoint PRETRAINED of another dataset, with a new output layer
#   cache        compute the teacher's soft targets for the training files once; train then reads them from CACHE
#   train        train the student with the teacher's soft targets, starting from PRETRAINED if it is given
#   baseline     train the same student on the labels alone
#   test         predict the test files with the teacher and the students
#   report       compare the predictions in tables and plots
#   convert      export the student to ONNX, with its preprocess.json, and compare it with torch
#   firmware     train the student further (KD_ALPHA=0: the baseline) in fixed point with learned bit widths, and write it as Verilog
#   latency      time the exported teacher and students; arguments go to kd_trainer bench latency
#   demo         run all steps on jets that are simulated here; takes ten to fifteen minutes on two cores
#
# Arguments go to weaver and override its settings: ./train_kd.sh train --num-epochs 20 -o kd_alpha 0.5
# --dry-run prints the commands of a mode, ready to paste. The same command continues a training that was stopped.
# Results: training/<run>/net_best_epoch_state.pt, training/<run>/pred.root, logs/<run>/train.log
#
# settings (environment)
set -euo pipefail
# shellcheck source=train_scripts/common.sh
source "$(dirname "$(readlink -f "$0")")/common.sh"
start "make_weight teacher pretrain finetune cache train baseline test report convert firmware latency demo" "$@"
paths_of_caller DATADIR TEACHER_CONFIG CLASSES PRETRAINED WEIGHTS VENV
lists_of_caller TRAIN_FILES UNLABELLED TEACHER_WEIGHTS BLEND
if [[ ${CACHE:-} != none ]]; then paths_of_caller CACHE; fi
if [[ $mode == demo ]]; then DATASET=demo; fi

DATASET=${DATASET:-JetClassII}        # JetClassII, JetClass, TopLandscape, QuarkGluon, LHCJets, Collide2V, demo: train_scripts/datasets/*.sh
DATADIR=${DATADIR:-datasets/$DATASET} # folder of its files
FILES=${FILES:-}                      # found: use the files that exist; each group needs at least one
TRAIN_FILES=${TRAIN_FILES:-}          # training files instead of the dataset's: "PATTERN GROUP:PATTERN ..."
TEACHER=${TEACHER:-}                  # a model of train_scripts/models/*.sh (default: Sophon, ParT-small or ParT, depending on the dataset)
TEACHER_TIER=${TEACHER_TIER:-}        # data config of the teacher: full, kinpid, kin, gen (default: the one of the dataset with most inputs)
TEACHER_SEED=${TEACHER_SEED:-1}       # seed of the teacher; several seeds, "1 2 3", form an ensemble; test uses the first
TEACHER_WEIGHTS=${TEACHER_WEIGHTS:-}  # an existing checkpoint to use as teacher; several form an ensemble
TEACHER_CONFIG=${TEACHER_CONFIG:-}    # data config of that teacher, if it was trained on another dataset
CLASSES=${CLASSES:-}                  # YAML file: the classes of that teacher for each class of the student
PRETRAINED=${PRETRAINED:-}            # checkpoint to start from: of TEACHER for finetune, of STUDENT for train and baseline
HEAD_RATE=${HEAD_RATE:-50}            # finetune: learning rate of the output layer, relative to the other layers
STUDENT=${STUDENT:-InteractionNet}    # a model of train_scripts/models/*.sh: InteractionNet, dense, PFN, ...; or several models
SEED=${SEED:-1}                       # seed of the student, or several seeds: "1 2 3"
TIER=${TIER:-}                        # data config of the student: l1, l1trk, hlt, kin, kinpid, full (default: l1; kin16 for LHCJets)
CACHE=${CACHE:-}                      # folder of the soft targets; none: no cache (default: cache/<teacher>_<TIER>)
BLEND=${BLEND:-}                      # instead of one teacher: caches of several, with weights: "cache/A=0.8 cache/B=0.2"
UNLABELLED=${UNLABELLED:-}            # more training files, without labels, for the soft targets alone; format as TRAIN_FILES
UNLABELLED_FRACTION=${UNLABELLED_FRACTION:-0.9} # fraction of each batch that comes from these files
LABELS=${LABELS:-yes}                 # no: the training files have no labels, the student learns from the teacher alone
WEIGHTS=${WEIGHTS:-}                  # an existing *.auto.yaml with sampling weights (default: the file of make_weight)
KD_ALPHA=${KD_ALPHA:-}                # weight of the soft targets in the loss (default: of the student's model file; 1 with UNLABELLED)
KD_TEMPERATURE=${KD_TEMPERATURE:-}    # their temperature (default: of the student's model file; 1 with UNLABELLED or BLEND)
KD_ENSEMBLE=${KD_ENSEMBLE:-probabilities} # how an ensemble is averaged: probabilities or logits
EBOPS_WEIGHT=${EBOPS_WEIGHT:-1e-6}    # weight of the firmware size (EBOPs) in the loss; several values: one run for each
FIRMWARE=${FIRMWARE:-yes}             # no: the mode firmware trains and exports, but writes no Verilog
PREDICT=${PREDICT:-}                  # models that test evaluates: "teacher kd baseline" (default: all that are trained)
RUN=${RUN:-}                          # name of the run (default: <DATASET>_<model>_<tier>_...)
COMMENT=${COMMENT:-}                  # suffix of the run names
RESTART=${RESTART:-no}                # yes: train from scratch; changed: only if the settings have changed
DDP_NGPUS=${DDP_NGPUS:-1}             # number of GPUs for DDP training
JETS=${JETS:-300}                     # demo: labelled jets of each class; the demo also uses ten times as many unlabelled jets
export VENV=${VENV:-$PWD/.venv}       # where to install weaver if it is not in the active environment

# shellcheck source=train_scripts/settings.sh
source train_scripts/settings.sh

set -- "${arguments[@]}"
case $mode in
    make_weight)
        grep -q '^ *reweight_method:' "$teacher_config" || finish "$teacher_config does not ask for sampling weights: nothing to do"
        check "$teacher_config"
        split_options "$@"
        run "${weaver[@]}" --print --custom-functions train_scripts/whole.py --data-train "${data_train[@]#*:}" "${data_val[@]}" \
            --data-config "$teacher_config" "${data_options[@]}" --network-config "$teacher_network" "${teacher_options[@]}" "${device[@]}" \
            --model-prefix "training/$teacher_run/net" --log-file "logs/$teacher_run/make_weight.log" "${net_options[@]}" "${others[@]}"
        ;;
    teacher)
        [[ ! $TEACHER_WEIGHTS ]] || finish "TEACHER_WEIGHTS=$TEACHER_WEIGHTS is the teacher: nothing to train"
        called "$teacher_run"
        own_data "$teacher_config"
        train "${weaver_teacher[@]}" "${outputs[@]}" --data-config "training/$name/student.yaml" \
            --network-config networks/supervised.py -o network "${teacher_model[@]}" "$@"
        ;;
    pretrain)
        called "${RUN:-${teacher_run}_pretrained}"
        run "${kd[@]}" unlabelled --data-config "$teacher_config" -o "training/$name/unlabelled.yaml"
        check "training/$name/unlabelled.yaml"
        train "${weaver_teacher[@]}" "${outputs[@]}" --data-config "training/$name/unlabelled.yaml" \
            --network-config networks/contrastive.py -o encoder "${teacher_model[@]}" "$@"
        [[ $dry_run ]] || echo "next, train it on labels: PRETRAINED=$(best "$name") ./train_kd.sh finetune"
        ;;
    finetune) # learning rates and number of epochs of arXiv 2407.08682
        [[ $PRETRAINED ]] || fail "finetune starts from a checkpoint: name it with PRETRAINED=..."
        called "${RUN:-${teacher_run}_finetuned}"
        own_data "$teacher_config"
        train "${weaver_teacher[@]}" "${outputs[@]}" --data-config "training/$name/student.yaml" --num-epochs 20 --lr-scheduler none \
            --start-lr 1.6e-4 --optimizer-option lr_mult "('$teacher_head', $HEAD_RATE)" --network-config networks/finetune.py \
            -o encoder "${teacher_model[@]}" -o pretrained "$(quoted "$PRETRAINED")" "$@"
        [[ $dry_run ]] || echo "to use it as teacher: TEACHER_WEIGHTS=$(best "$name")"
        ;;
    cache)
        [[ $CACHE != none ]] || fail "CACHE is none: name a folder for the soft targets, or leave CACHE out"
        paired_data "$CACHE"
        soft_targets "$@"
        ;;
    train)
        called "$student_run"
        paired_data "training/$name"
        train "${weaver_student[@]}" "${outputs[@]}" --data-config "training/$name/$paired" --data-config-val "training/$name/$validation" \
            --data-config-test "$student_config" --network-config networks/distill.py -o student "${student_model[@]}" \
            "${from_pretrained[@]}" -o kd_alpha "${KD_ALPHA:-$kd_alpha}" -o kd_temperature "${KD_TEMPERATURE:-$kd_temperature}" \
            "${taught[@]}" "${without_labels[@]}" "$@"
        ;;
    baseline)
        called "$(student_name "$STUDENT" baseline "$SEED")"
        own_data "$student_config"
        train "${weaver_student[@]}" "${outputs[@]}" --data-config "training/$name/student.yaml" --network-config networks/distill.py \
            -o student "${student_model[@]}" "${from_pretrained[@]}" -o kd_alpha 0.0 "$@"
        ;;
    test | report | convert | firmware | latency) source train_scripts/evaluation.sh ;;
    demo)
        need_count JETS 2
        [[ $dry_run ]] || kd_need demo onnx plot
        PROFILE=local workflow "training/study_demo$COMMENT" "${JOBS:-2}" \
            --config study=train_scripts/studies/demo.yaml ${1:+"weaver= ${*@Q} "}
        ;;
esac
