#!/usr/bin/env bash
# usage: ./train_kd.sh MODE [--dry-run] [weaver arguments...]
#
# modes
#   make_weight  sampling weights of the dataset, where its data config asks for them (before any training)
#   teacher      train a teacher at full resolution
#   pretrain     train TEACHER on the training files without their labels (contrastive)
#   finetune     train a teacher from the weights PRETRAINED of another dataset, with a new output layer
#   cache        run the teacher once over the training files; train then reads its soft targets from CACHE
#   train        train the student with the teacher's soft targets
#   baseline     train the identical student on the labels alone
#   test         predict the test files with the teacher and the students
#   report       compare the predictions: tables and plots
#   convert      export the student to ONNX, with its preprocess.json, and compare it with torch
#   quantise     fine-tune the student with rounding and the teacher's soft targets, and make it 8 bits
#   latency      time the exported teacher and students; arguments go to kd_trainer bench latency
#   demo         all of it on jets simulated here, in ten to fifteen minutes on two cores
#
# Arguments go to weaver and override: ./train_kd.sh train --num-epochs 20 -o kd_alpha 0.5
# --dry-run prints the commands of a mode, ready to paste. A training that was stopped goes on with the same command.
# Results: training/<run>/net_best_epoch_state.pt, training/<run>/pred.root, logs/<run>/train.log
#
# settings (environment)
set -euo pipefail
caller=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=train_scripts/common.sh
source train_scripts/common.sh
start "make_weight teacher pretrain finetune cache train baseline test report convert quantise latency demo" "$@"
paths_of_caller DATADIR TEACHER_CONFIG CLASSES PRETRAINED WEIGHTS
lists_of_caller TRAIN_FILES TEACHER_WEIGHTS
if [[ ${CACHE:-} != none ]]; then paths_of_caller CACHE; fi
if [[ $mode == demo ]]; then DATASET=demo; fi

DATASET=${DATASET:-JetClassII}        # JetClassII, JetClass, TopLandscape, QuarkGluon, demo: train_scripts/datasets/*.sh
DATADIR=${DATADIR:-datasets/$DATASET} # where its files are
TRAIN_FILES=${TRAIN_FILES:-}          # training files instead of the dataset's: "PATTERN GROUP:PATTERN ..."
TEACHER=${TEACHER:-}                  # a model of train_scripts/models/*.sh; as the dataset says: Sophon, ParT-small or ParT
TEACHER_TIER=${TEACHER_TIER:-}        # data config of the teacher: full, kinpid, kin, gen; the fullest of the dataset
TEACHER_SEED=${TEACHER_SEED:-1}       # seed of the teacher; several, "1 2 3", are an ensemble
TEACHER_WEIGHTS=${TEACHER_WEIGHTS:-}  # a checkpoint to use as teacher; several are an ensemble
TEACHER_CONFIG=${TEACHER_CONFIG:-}    # data config of that teacher, if it is of another dataset
CLASSES=${CLASSES:-}                  # YAML: the classes of that teacher for each class of the student
PRETRAINED=${PRETRAINED:-}            # the checkpoint that finetune starts from
STUDENT=${STUDENT:-PFN}               # PFN, InteractionNet, dense or another of train_scripts/models/*.sh, or several
SEED=${SEED:-1}                       # seed of the student, or several: "1 2 3"
TIER=${TIER:-l1}                      # data config of the student: l1, hlt, kin, kinpid, full
CACHE=${CACHE:-}                      # folder of the soft targets; cache/<teacher>_<TIER>, none for none
LABELS=${LABELS:-yes}                 # no: files without labels, all is learnt from the teacher
WEIGHTS=${WEIGHTS:-}                  # an existing *.auto.yaml with sampling weights; those of make_weight
KD_ALPHA=${KD_ALPHA:-}                # weight of the soft targets in the loss; as the student's model file says
KD_TEMPERATURE=${KD_TEMPERATURE:-}    # their temperature; as the student's model file says
WEIGHT_BITS=${WEIGHT_BITS:-7}         # bits of the weights for quantise: 2 to 7
PREDICT=${PREDICT:-}                  # what test predicts: "teacher kd baseline"; what is trained
RUN=${RUN:-}                          # name of the run; <DATASET>_<model>_<tier>_...
COMMENT=${COMMENT:-}                  # suffix of the names of runs
RESTART=${RESTART:-no}                # yes: train from scratch; changed: if the settings are not those of the run
DDP_NGPUS=${DDP_NGPUS:-1}             # number of GPUs for DDP training
JETS=${JETS:-1000}                    # training jets of each class in the demo
export VENV=${VENV:-.venv}            # where to install weaver if the active environment has none

need_numbers DDP_NGPUS WEIGHT_BITS JETS SEED TEACHER_SEED
need_choice RESTART no yes changed
need_choice LABELS no yes
need_files TEACHER_CONFIG CLASSES PRETRAINED WEIGHTS
case $mode in
    train | baseline | convert | quantise) once_for_each STUDENT SEED ;;
    teacher | pretrain | finetune) once_for_each TEACHER_SEED ;;
esac
choose datasets "$DATASET" DATASET
TEACHER=${TEACHER:-$default_teacher} TEACHER_TIER=${TEACHER_TIER:-$default_teacher_tier}
need_tier "$TIER" "$DATASET"
need_tier "$TEACHER_TIER" "$DATASET"
student_config=${data_config}_$TIER.yaml teacher_config=${TEACHER_CONFIG:-${data_config}_$TEACHER_TIER.yaml}
if [[ $TRAIN_FILES ]]; then read -ra data_train <<<"$TRAIN_FILES"; fi
choose models "$TEACHER" TEACHER
teacher_network=$network teacher_head=$head
teacher_options=("${options[@]}") teacher_training=("${training[@]}") teacher_cuda=("${cuda[@]}")
for student in $STUDENT; do choose models "$student" STUDENT; done
if [[ $LABELS == no ]]; then unlabelled=(--unlabelled) kd_alpha=1.0; else unlabelled=(); fi

# names of runs, and the checkpoints of the teacher
teacher_name() { echo "${DATASET}_${TEACHER}_${TEACHER_TIER}_seed$1$COMMENT"; }  # teacher_name SEED
student_name() { echo "${RUN:-${DATASET}_${1}_${TIER}_${2}_seed$3$COMMENT}"; }   # student_name STUDENT kd|baseline SEED
best() { echo "training/$1/net_best_epoch_state.pt"; }                           # best RUN
first_teacher=$(teacher_name "${TEACHER_SEED%% *}")
latency_run=${DATASET}_latency_${TEACHER}_${TEACHER_TIER}_${STUDENT// /_}_$TIER$COMMENT
CACHE=${CACHE:-cache/$(teacher_name "${TEACHER_SEED// /+}")_$TIER}
teachers=()
for seed in $TEACHER_SEED; do teachers+=("$(best "$(teacher_name "$seed")")"); done
if [[ $TEACHER_WEIGHTS ]]; then read -ra teachers <<<"$TEACHER_WEIGHTS"; fi
if [[ -f $TEACHER_WEIGHTS ]]; then teachers=("$TEACHER_WEIGHTS"); fi # its path may have spaces

# shellcheck source=train_scripts/setup.sh
if [[ ! $dry_run ]]; then source train_scripts/setup.sh; fi
find_devices
kd=(python -m kd_trainer)
sample=(--data-train "${data_train[@]}" --data-val "${data_val[@]}" "${data_options[@]}" --no-remake-weights
    --samples-per-epoch $((samples_per_epoch / DDP_NGPUS)) --samples-per-epoch-val "$samples_per_epoch_val"
    --num-epochs "$epochs" --optimizer ranger "${device[@]}")
seeded=(-o restart "'$RESTART'" -o seed)
deploy_options=()

check() { run "${kd[@]}" check "${@/#/--data-config=}" "${data_train[@]}" "${data_val[@]}"; } # check CONFIG...

teacher_data() { # teacher_data RUN: sets `config`, the teacher's data config, with the sampling weights of WEIGHTS
    config=$teacher_config
    if [[ $WEIGHTS ]]; then
        run "${kd[@]}" pair --student "$teacher_config" --weights "$WEIGHTS" -o "training/$1"
        config=training/$1/student.yaml
    fi
    check "$config"
}

need_teacher() {
    for weights in "${teachers[@]}"; do
        [[ $dry_run || -f $weights ]] ||
            fail "there is no teacher at $weights: train one (./train_kd.sh teacher) or name one (TEACHER_WEIGHTS=...)"
        if [[ ! $TEACHER_WEIGHTS ]]; then need_trained "$(basename "${weights%/*}")"; fi
    done
}

soft_targets() { # soft_targets PAIRED [arguments...]: make those of the teachers, or look at them
    local members=()
    for weights in "${teachers[@]}"; do members+=(--network "$teacher_network" --weights "$weights" "${teacher_options[@]}"); done
    run "${kd[@]}" cache --paired "$1" "${members[@]}" --output "$CACHE" "${@:2}" "${data_train[@]}"
}

pair() { # pair FOLDER: writes student.yaml, and paired.yaml with the inputs of the teacher
    check "$student_config" "$teacher_config"
    run "${kd[@]}" pair --student "$student_config" --teacher "$teacher_config" --weights "${WEIGHTS:-$teacher_config}" \
        ${CLASSES:+--classes "$CLASSES"} "${unlabelled[@]}" -o "$1"
}

distil() { # distil RUN [weaver arguments...]: train with the soft targets of the cache, if there is one, or the teacher
    local paired=training/$1/paired.yaml config=training/$1/paired.yaml validation=training/$1/student.yaml cached=()
    need_teacher
    into "$1"
    pair "training/$1"
    if [[ $LABELS == no ]]; then validation=$paired; fi # the best epoch is that which agrees best with the teacher
    if [[ -f $CACHE/cached.yaml ]]; then
        soft_targets "$paired" --check || fail "the soft targets in $CACHE are not those of this teacher and these files: ./train_kd.sh cache, or CACHE=none"
        config=$CACHE/cached.yaml
        cached=(-o kd_cache "$(quoted "$paired")" --data-train)
        for file in "${data_train[@]}"; do cached+=("$(in_cache "$file")"); done
    fi
    run "${weaver[@]}" "${sample[@]}" "${outputs[@]}" --data-config "$config" --data-config-val "$validation" \
        --data-config-test "$student_config" "${training[@]}" "${cuda[@]}" --network-config networks/distill.py \
        -o student "$(quoted "$network")" "${options[@]}" "${seeded[@]}" "$SEED" \
        -o teacher "$(quoted "$teacher_network")" -o teacher_options "$(as_dict "${teacher_options[@]}")" \
        -o teacher_weights "$(quoted "${teachers[@]}")" -o kd_alpha "${KD_ALPHA:-$kd_alpha}" \
        -o kd_temperature "${KD_TEMPERATURE:-$kd_temperature}" "${cached[@]}" "${@:2}"
    need_trained "$1"
}

predict() { # predict NAME RUN CONFIG WEIGHTS NETWORK [options and weaver arguments...]
    split_options "${@:6}"
    run mkdir -p "training/$2" "logs/$2"
    run weaver --predict --data-test "${data_test[@]}" --data-config "$3" --num-workers 1 "${training[@]}" "${device[@]}" \
        --network-config networks/supervised.py -o network "$(quoted "$5")" "${net_options[@]}" --model-prefix "$4" \
        --predict-output "$PWD/training/$2/pred.root" --log-file "logs/$2/test.log" "${others[@]}"
    run "${kd[@]}" complexity --name "$1" --network "$5" --data-config "$3" "${net_options[@]}" --output "training/$2/pred.model.json"
}

wanted() { # wanted FILE NAME: whether test predicts it; what PREDICT names has to be there
    if [[ $dry_run || -f $1 ]]; then
        predicted=yes
        if [[ $1 != "${teachers[0]}" ]]; then need_trained "$2"; fi
    elif [[ $PREDICT ]]; then
        fail "there is no $1: train it first"
    else
        echo "train_kd.sh: there is no $1, so it is left out" >&2
        return 1
    fi
}

export_onnx() { # export_onnx RUN CONFIG WEIGHTS NETWORK [options and weaver arguments...]
    split_options "${@:5}"
    run mkdir -p "training/$1" "logs/$1"
    run weaver --data-config "$2" --network-config "$4" "${net_options[@]}" --model-prefix "$3" \
        --export-onnx "training/$1/model.onnx" --log-file "logs/$1/convert.log" "${others[@]}"
    run "${kd[@]}" deploy "training/$1" "${data_test[@]}" --network "$4" "${net_options[@]}" --weights "$3" --data-config "$2" \
        "${deploy_options[@]}"
}

set -- "${arguments[@]}"
case $mode in
    make_weight)
        if ! grep -q '^ *reweight_method:' "$teacher_config"; then
            echo "$teacher_config asks for no sampling weights: nothing to do" && exit
        fi
        check "$teacher_config"
        run "${weaver[@]}" --print --data-train "${data_train[@]#*:}" "${data_val[@]}" --data-config "$teacher_config" \
            "${data_options[@]}" --network-config "$teacher_network" "${teacher_options[@]}" "${device[@]}" \
            --model-prefix "training/$first_teacher/net" --log-file "logs/$first_teacher/make_weight.log" "$@"
        ;;
    teacher)
        if [[ $TEACHER_WEIGHTS ]]; then
            echo "TEACHER_WEIGHTS=$TEACHER_WEIGHTS is the teacher: nothing to train" && exit
        fi
        name=${RUN:-$first_teacher}
        into "$name"
        teacher_data "$name"
        run "${weaver[@]}" "${sample[@]}" "${outputs[@]}" --data-config "$config" "${teacher_training[@]}" "${teacher_cuda[@]}" \
            --network-config networks/supervised.py -o network "$(quoted "$teacher_network")" "${teacher_options[@]}" \
            "${seeded[@]}" "$TEACHER_SEED" "$@"
        need_trained "$name"
        ;;
    pretrain)
        name=${RUN:-${first_teacher}_pretrained}
        into "$name"
        run "${kd[@]}" unlabelled --data-config "$teacher_config" -o "training/$name/unlabelled.yaml"
        check "training/$name/unlabelled.yaml"
        run "${weaver[@]}" "${sample[@]}" "${outputs[@]}" --data-config "training/$name/unlabelled.yaml" \
            "${teacher_training[@]}" "${teacher_cuda[@]}" --network-config networks/contrastive.py \
            -o encoder "$(quoted "$teacher_network")" "${teacher_options[@]}" "${seeded[@]}" "$TEACHER_SEED" "$@"
        need_trained "$name"
        echo "to go on with labels: PRETRAINED=$(best "$name") ./train_kd.sh finetune"
        ;;
    finetune)
        [[ $PRETRAINED ]] || fail "finetune starts from a checkpoint: name it with PRETRAINED=..."
        name=${RUN:-${first_teacher}_finetuned}
        into "$name"
        teacher_data "$name"
        # rates and epochs of arXiv 2407.08682: the new output layer learns 50 times faster than the rest
        run "${weaver[@]}" "${sample[@]}" "${outputs[@]}" --data-config "$config" "${teacher_training[@]}" "${teacher_cuda[@]}" \
            --num-epochs 20 --lr-scheduler none --start-lr 1.6e-4 --optimizer-option lr_mult "('$teacher_head', 50)" \
            --network-config networks/finetune.py -o encoder "$(quoted "$teacher_network")" "${teacher_options[@]}" \
            -o pretrained "$(quoted "$PRETRAINED")" "${seeded[@]}" "$TEACHER_SEED" "$@"
        need_trained "$name"
        echo "to teach with it: TEACHER_WEIGHTS=$(best "$name")"
        ;;
    cache)
        need_teacher
        pair "$CACHE"
        soft_targets "$CACHE/paired.yaml" "$@"
        ;;
    train)
        distil "$(student_name "$STUDENT" kd "$SEED")" "$@"
        ;;
    baseline)
        name=$(student_name "$STUDENT" baseline "$SEED")
        into "$name"
        check "$student_config"
        run "${kd[@]}" pair --student "$student_config" --weights "${WEIGHTS:-$teacher_config}" -o "training/$name"
        run "${weaver[@]}" "${sample[@]}" "${outputs[@]}" --data-config "training/$name/student.yaml" "${training[@]}" "${cuda[@]}" \
            --network-config networks/distill.py -o student "$(quoted "$network")" "${options[@]}" -o kd_alpha 0.0 \
            "${seeded[@]}" "$SEED" "$@"
        need_trained "$name"
        ;;
    test)
        run "${kd[@]}" check --data-config "$student_config" --data-config "$teacher_config" "${data_test[@]}"
        predicted=''
        if [[ ${PREDICT:-teacher} == *teacher* ]] && wanted "${teachers[0]}" teacher; then
            split_options "$@" # those of networks are for the students
            predict "teacher ($TEACHER, $TEACHER_TIER)" "${RUN:-$first_teacher}" "$teacher_config" "${teachers[0]}" \
                "$teacher_network" "${teacher_options[@]}" "${others[@]}"
        fi
        for student in $STUDENT; do
            choose models "$student" STUDENT
            for seed in $SEED; do
                for kind in $(tr ' ' '\n' <<<"${PREDICT:-kd baseline}" | grep -v teacher || true); do
                    name=$(student_name "$student" "$kind" "$seed")
                    if wanted "$(best "$name")" "$name"; then
                        predict "$student $kind" "$name" "$(if [[ $LABELS == no ]]; then echo "$student_config"; else echo "training/$name/student.yaml"; fi)" "$(best "$name")" "$network" "${options[@]}" "$@"
                    fi
                done
            done
        done
        [[ $predicted ]] || fail "there is nothing to test: train a teacher and a student first"
        ;;
    report)
        taggers=() pairs=()
        if [[ -f training/${RUN:-$first_teacher}/pred.root ]]; then taggers=("teacher=training/$first_teacher/pred.root"); fi
        for student in $STUDENT; do
            for kind in kd baseline; do
                files=''
                for seed in $SEED; do
                    name=$(student_name "$student" "$kind" "$seed")
                    [[ $dry_run || -f training/$name/pred.root ]] ||
                        fail "there is no training/$name/pred.root: run train, baseline and test first"
                    files+=,training/$name/pred.root
                done
                taggers+=("$student ${kind/kd/distilled}=${files#,}")
            done
            pairs+=("$student distilled=$student baseline")
        done
        if [[ -f training/$latency_run/latency.json ]]; then taggers+=(--latency "training/$latency_run/latency.json"); fi
        run "${kd[@]}" report "${taggers[@]}" --compare "${pairs[@]}" --data-config "$student_config" \
            -o "training/${RUN:-${DATASET}_report$COMMENT}" "$@"
        ;;
    convert)
        name=$(student_name "$STUDENT" kd "$SEED")
        need_trained "$name"
        export_onnx "$name" "training/$name/student.yaml" "$(best "$name")" "$network" "${options[@]}" "$@"
        ;;
    quantise)
        name=$(student_name "$STUDENT" kd "$SEED")
        tuned=${name}_quantised$(if ((WEIGHT_BITS != 7)); then echo "_${WEIGHT_BITS}bit"; fi)
        need_trained "$name"
        split_options "$@"
        export_onnx "$name" "training/$name/student.yaml" "$(best "$name")" "$network" "${options[@]}" "${net_options[@]}"
        distil "$tuned" -o student "'networks/quantised.py'" -o network "$(quoted "$network")" -o weight_bits "$WEIGHT_BITS" \
            --load-model-weights "$(best "$name")" --num-epochs 5 --start-lr 1e-3 "$@"
        export_onnx "$tuned" "training/$tuned/student.yaml" "$(best "$tuned")" "$network" "${options[@]}" "${net_options[@]}"
        run "${kd[@]}" quantise "training/$tuned" "${data_train[@]}" --before "training/$name" --test "${data_test[@]}" \
            --weight-bits "$WEIGHT_BITS"
        ;;
    latency) # of the first seed
        exported=()
        if [[ $dry_run || -f ${teachers[0]} ]]; then
            deploy_options=(--jets 50 --static 0) # it is slow, and not for triggers
            export_onnx "$first_teacher" "$teacher_config" "${teachers[0]}" "$teacher_network" "${teacher_options[@]}"
            exported=("teacher=training/$first_teacher/model.onnx")
        fi
        for student in $STUDENT; do
            STUDENT=$student SEED=${SEED%% *} ./train_kd.sh convert ${dry_run:+"$dry_run"}
            exported+=("$student distilled=training/$(student_name "$student" kd "${SEED%% *}")/model.onnx")
        done
        run "${kd[@]}" bench latency "${exported[@]}" --files "${data_test[@]}" -o "training/$latency_run" "$@"
        ;;
    demo)
        fail "the demo is not here yet"
        ;;
esac
