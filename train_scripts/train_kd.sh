#!/usr/bin/env bash
# usage: ./train_kd.sh MODE [--dry-run] [weaver arguments...]
#
# modes
#   make_weight  sampling weights of the dataset, where its data config asks for them (before any training)
#   teacher      train a teacher at full resolution
#   pretrain     train TEACHER on the training files without their labels (contrastive)
#   finetune     train a teacher from the weights PRETRAINED of another dataset, with a new output layer
#   cache        run the teacher once over the training files; train then reads its soft targets from CACHE
#   train        train the student with the teacher's soft targets, from PRETRAINED if that is given
#   baseline     train the identical student on the labels alone
#   test         predict the test files with the teacher and the students
#   report       compare the predictions: tables and plots
#   convert      export the student to ONNX, with its preprocess.json, and compare it with torch
#   firmware     go on with the student (KD_ALPHA=0: the baseline) in fixed point, its widths learnt, and make it Verilog
#   latency      time the exported teacher and students; arguments go to kd_trainer bench latency
#   demo         all of it on jets simulated here, in ten to fifteen minutes on two cores
#
# Arguments go to weaver and override: ./train_kd.sh train --num-epochs 20 -o kd_alpha 0.5
# --dry-run prints the commands of a mode, ready to paste. A training that was stopped goes on with the same command.
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
DATADIR=${DATADIR:-datasets/$DATASET} # where its files are
FILES=${FILES:-}                      # found: a part of the dataset is enough, some files of each group
TRAIN_FILES=${TRAIN_FILES:-}          # training files instead of the dataset's: "PATTERN GROUP:PATTERN ..."
TEACHER=${TEACHER:-}                  # a model of train_scripts/models/*.sh; as the dataset says: Sophon, ParT-small or ParT
TEACHER_TIER=${TEACHER_TIER:-}        # data config of the teacher: full, kinpid, kin, gen; the fullest of the dataset
TEACHER_SEED=${TEACHER_SEED:-1}       # seed of the teacher; several, "1 2 3", are an ensemble (test: the first)
TEACHER_WEIGHTS=${TEACHER_WEIGHTS:-}  # a checkpoint to use as teacher; several are an ensemble
TEACHER_CONFIG=${TEACHER_CONFIG:-}    # data config of that teacher, if it is of another dataset
CLASSES=${CLASSES:-}                  # YAML: the classes of that teacher for each class of the student
PRETRAINED=${PRETRAINED:-}            # the checkpoint of TEACHER that finetune starts from; of STUDENT for train and baseline
HEAD_RATE=${HEAD_RATE:-50}            # learning rate of the output layer in finetune, in rates of the rest
STUDENT=${STUDENT:-InteractionNet}    # InteractionNet, dense, PFN or another of train_scripts/models/*.sh, or several
SEED=${SEED:-1}                       # seed of the student, or several: "1 2 3"
TIER=${TIER:-}                        # data config of the student: l1, l1trk, hlt, kin, kinpid, full; as the dataset says: l1 or kin16
CACHE=${CACHE:-}                      # folder of the soft targets; cache/<teacher>_<TIER>, none for none
BLEND=${BLEND:-}                      # instead of a teacher, caches of several with their weights: "cache/A=0.8 cache/B=0.2"
UNLABELLED=${UNLABELLED:-}            # more training files, without labels: all is learnt from the teacher; as TRAIN_FILES
UNLABELLED_FRACTION=${UNLABELLED_FRACTION:-0.9} # of each batch that is of these files
LABELS=${LABELS:-yes}                 # no: files without labels, all is learnt from the teacher
WEIGHTS=${WEIGHTS:-}                  # an existing *.auto.yaml with sampling weights; those of make_weight
KD_ALPHA=${KD_ALPHA:-}                # weight of the soft targets in the loss; as the student's model file says, 1 with UNLABELLED
KD_TEMPERATURE=${KD_TEMPERATURE:-}    # their temperature; as the student's model file says, 1 with UNLABELLED or BLEND
KD_ENSEMBLE=${KD_ENSEMBLE:-probabilities} # what is averaged of several teachers: probabilities, logits
EBOPS_WEIGHT=${EBOPS_WEIGHT:-1e-6}    # weight of the size of the firmware in its loss; a run for each of several
FIRMWARE=${FIRMWARE:-yes}             # no: firmware trains and exports, and makes no Verilog
PREDICT=${PREDICT:-}                  # what test predicts: "teacher kd baseline"; what is trained
RUN=${RUN:-}                          # name of the run; <DATASET>_<model>_<tier>_...
COMMENT=${COMMENT:-}                  # suffix of the names of runs
RESTART=${RESTART:-no}                # yes: train from scratch; changed: if the settings are not those of the run
DDP_NGPUS=${DDP_NGPUS:-1}             # number of GPUs for DDP training
JETS=${JETS:-300}                     # jets of each class with labels in the demo; ten times as many are without
export VENV=${VENV:-$PWD/.venv}       # where to install weaver if the active environment has none

# shellcheck source=train_scripts/settings.sh
source train_scripts/settings.sh

set -- "${arguments[@]}"
case $mode in
    make_weight)
        grep -q '^ *reweight_method:' "$teacher_config" || finish "$teacher_config asks for no sampling weights: nothing to do"
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
        [[ $dry_run ]] || echo "to go on with labels: PRETRAINED=$(best "$name") ./train_kd.sh finetune"
        ;;
    finetune) # rates and epochs of arXiv 2407.08682
        [[ $PRETRAINED ]] || fail "finetune starts from a checkpoint: name it with PRETRAINED=..."
        called "${RUN:-${teacher_run}_finetuned}"
        own_data "$teacher_config"
        train "${weaver_teacher[@]}" "${outputs[@]}" --data-config "training/$name/student.yaml" --num-epochs 20 --lr-scheduler none \
            --start-lr 1.6e-4 --optimizer-option lr_mult "('$teacher_head', $HEAD_RATE)" --network-config networks/finetune.py \
            -o encoder "${teacher_model[@]}" -o pretrained "$(quoted "$PRETRAINED")" "$@"
        [[ $dry_run ]] || echo "to teach with it: TEACHER_WEIGHTS=$(best "$name")"
        ;;
    cache)
        [[ $CACHE != none ]] || fail "CACHE is none: name a folder for the soft targets, or leave it to the default"
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
