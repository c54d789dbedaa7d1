#!/usr/bin/env bash
# Teacher, student with and without teacher, predictions, report and export, with weaver.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: ./train_kd.sh MODE [weaver arguments...]

modes
  make_weight  sampling weights of the dataset, where its data config asks for them (before any training)
  teacher      train a teacher at full resolution; skipped if TEACHER_WEIGHTS names one
  pretrain     train TEACHER on the training files without their labels (contrastive); finetune goes on from there
  finetune     train a teacher from the weights PRETRAINED of another dataset, with a new output layer
  cache        run the teacher once over the training files; train then reads its soft targets from CACHE
  train        train the student with the teacher's soft targets
  baseline     train the identical student on the labels alone
  test         predict the test files with the teacher and both students
  report       compare the predictions: tables and plots
  convert      export the student to ONNX, with its preprocess.json, and compare it with torch
  quantise     fine-tune the student with rounding to 8 bits and the teacher's soft targets; 8 bits with and without that
  latency      time the exported teacher and students; arguments go to kd_trainer bench latency, report shows the result
  demo         all of it on jets simulated here, in ten to fifteen minutes on two cores

Arguments after the mode go to weaver and override: ./train_kd.sh train --num-epochs 20 -o kd_alpha 0.5

settings (environment)
  DATASET          JetClassII (default), JetClass, TopLandscape, QuarkGluon, demo: train_scripts/datasets/*.sh
  DATADIR          where its files are (default datasets/$DATASET)
  TEACHER          ParT (default; for JetClassII Sophon) or another of train_scripts/models/*.sh
  TEACHER_TIER     data config of the teacher: full, kinpid, kin, gen (default: the first that the dataset has)
  TEACHER_WEIGHTS  a checkpoint to use as teacher
  PRETRAINED       the checkpoint that finetune starts from
  STUDENT          PFN (default), InteractionNet, dense or another of train_scripts/models/*.sh, or several: "PFN dense"
  SEED             seed of the student (default 1), or several: "1 2 3"
  TIER             data config of the student: l1 (default), hlt, kin, kinpid, full
  CACHE            folder of the soft targets (default cache/<teacher>_<TIER>)
  WEIGHTS          an existing *.auto.yaml with sampling weights (default: those that make_weight made)
  KD_ALPHA         weight of the soft targets in the loss (default: as the student's model file says)
  KD_TEMPERATURE   their temperature (default: as the student's model file says)
  WEIGHT_BITS      bits of the weights for quantise: 2 to 7 (default 7, what 8 bits are used of)
  COMMENT          suffix of the names of runs
  DDP_NGPUS        number of GPUs for DDP training (default 1)
  JETS             training jets of each class in the demo (default 1000)
  VENV             where to install weaver if the active environment has none (default .venv)

results: training/<run>/net_best_epoch_state.pt, training/<run>/pred.root, logs/<run>/train.log
EOF
}

mode=${1:-}
case $mode in
    -h | --help) usage; exit 0 ;;
    make_weight | teacher | pretrain | finetune | cache | train | baseline | test | report | convert | quantise | latency | demo) ;;
    '') usage >&2; exit 2 ;;
    *) echo "train_kd.sh: unknown mode '$mode': see ./train_kd.sh --help" >&2; exit 2 ;;
esac
shift

here=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=train_scripts/common.sh
source train_scripts/common.sh
if [[ -n ${DATADIR:-} ]]; then DATADIR=$(absolute "$DATADIR"); fi
TEACHER_WEIGHTS=$(absolute "${TEACHER_WEIGHTS:-}")
[[ -z $TEACHER_WEIGHTS || -f $TEACHER_WEIGHTS ]] || fail "there is no checkpoint at TEACHER_WEIGHTS=$TEACHER_WEIGHTS"
WEIGHTS=$(absolute "${WEIGHTS:-}")
PRETRAINED=$(absolute "${PRETRAINED:-}")
CACHE=$(absolute "${CACHE:-}")

if [[ $mode == demo ]]; then DATASET=demo; fi
DATASET=${DATASET:-JetClassII}
source_setting datasets "$DATASET" DATASET
TEACHER=${TEACHER:-ParT}
if [[ $mode == demo ]]; then STUDENT=${STUDENT:-dense} SEED=${SEED:-1 2}; fi
STUDENTS=${STUDENT:-PFN}
SEEDS=${SEED:-1}
TIER=${TIER:-l1}
TEACHER_TIER=${TEACHER_TIER:-full}
COMMENT=${COMMENT:-}
DDP_NGPUS=${DDP_NGPUS:-1}
WEIGHT_BITS=${WEIGHT_BITS:-7}

for tier in "$TIER" "$TEACHER_TIER"; do need_tier "$tier" "$DATASET"; done

# a model: its network, options as weaver takes them (-o name value) and as a python dict, training options
use_model() { # use_model NAME SETTING
    head='' kd_alpha='' kd_temperature=''
    source_setting models "$1" "$2"
    model_args=()
    model_dict=''
    local i
    for ((i = 0; i < ${#network_options[@]}; i += 2)); do
        model_args+=(-o "${network_options[i]}" "${network_options[i + 1]}")
        model_dict+="'${network_options[i]}': ${network_options[i + 1]}, "
    done
}
use_model "$TEACHER" TEACHER
for STUDENT in $STUDENTS; do use_model "$STUDENT" STUDENT; done

# shellcheck source=train_scripts/setup.sh
source train_scripts/setup.sh

find_devices
exec 3>&1       # where weaver's own output goes; it is in the log files too
skip_done=''      # set to leave out what is complete
JOBS=1            # students at a time
deploy_options=() # of kd_trainer deploy

teacher_config=${data_config}_$TEACHER_TIER.yaml
student_config=${data_config}_$TIER.yaml
WEIGHTS=${WEIGHTS:-$teacher_config}
teacher_run=${DATASET}_${TEACHER}_$TEACHER_TIER$COMMENT
report_run=${DATASET}_report$COMMENT
latency_run=${DATASET}_latency_${TEACHER}_${TEACHER_TIER}_${STUDENTS// /_}_$TIER$COMMENT
CACHE=${CACHE:-cache/${teacher_run}_$TIER}
student_run() { echo "${DATASET}_${STUDENT}_${TIER}_$1_seed$SEED$COMMENT"; } # student_run kd|baseline
teacher_weights() { echo "${TEACHER_WEIGHTS:-$(best "$teacher_run")}"; }

check() { # check CONFIG...: look at the files before a training
    local config args=()
    for config in "$@"; do args+=(--data-config "$config"); done
    python -m kd_trainer check "${args[@]}" "${data_train[@]}" "${data_val[@]}"
}

run_training() { # run_training RUN [weaver arguments...]
    local run=$1 recipe
    recipe=$(cksum <<<"${*@Q} ${training_options[*]@Q} $epochs $samples_per_epoch ${data_train[*]@Q}")
    if [[ $skip_done && -f training/$run/done && $(<"training/$run/done") == "$recipe" ]] &&
        nothing_newer "training/$run/done" "$(teacher_weights)" "$network" "$teacher_config" "$student_config" \
            "${data_train[@]}" "${data_val[@]}"; then
        echo "$run is trained already"
        return
    fi
    rm -f "training/$run/done"
    mkdir -p "training/$run" "logs/$run"
    "${weaver[@]}" --no-remake-weights --data-train "${data_train[@]}" --data-val "${data_val[@]}" "${data_options[@]}" \
        --samples-per-epoch $((samples_per_epoch / DDP_NGPUS)) --samples-per-epoch-val "$samples_per_epoch_val" \
        --num-epochs "$epochs" --optimizer ranger "${training_options[@]}" "${device[@]}" \
        --model-prefix "training/$run/net" --log-file "logs/$run/train.log" --tensorboard "_$run" "${@:2}" >&3
    [[ -f $(best "$run") ]] || fail "the training of $run left no best epoch: see logs/$run/train.log"
    echo "$recipe" >"training/$run/done"
}

cuda() { if [[ ${device[1]} && ${#cuda_options[@]} -gt 0 ]]; then printf '%s\n' "${cuda_options[@]}"; fi; }

make_weight() {
    use_model "$TEACHER" TEACHER
    if ! python -c 'import sys, yaml; sys.exit(not yaml.safe_load(open(sys.argv[1])).get("weights"))' "$teacher_config"; then
        echo "$teacher_config asks for no sampling weights: nothing to do"
        return
    fi
    check "$teacher_config"
    "${weaver[@]}" --print --data-train "${data_train[@]#*:}" "${data_val[@]#*:}" --data-config "$teacher_config" \
        "${data_options[@]}" --samples-per-epoch "$samples_per_epoch" --samples-per-epoch-val "$samples_per_epoch_val" \
        --network-config "$network" "${model_args[@]}" "${training_options[@]}" "${device[@]}" \
        --model-prefix "training/$teacher_run/net" --log-file "logs/$teacher_run/make_weight.log" "$@"
}

teacher() {
    if [[ $TEACHER_WEIGHTS ]]; then
        echo "TEACHER_WEIGHTS=$TEACHER_WEIGHTS is the teacher: nothing to train"
        return
    fi
    use_model "$TEACHER" TEACHER
    local extra config=$teacher_config
    mapfile -t extra < <(cuda)
    with_weights "$teacher_run"
    check "$config"
    run_training "$teacher_run" --data-config "$config" --network-config "$network" "${model_args[@]}" "${extra[@]}" "$@"
}

with_weights() { # with_weights RUN: the teacher's data config in `config`, with the sampling weights that WEIGHTS names
    if [[ $WEIGHTS == "$teacher_config" ]]; then return; fi
    python -m kd_trainer pair --student "$teacher_config" --weights "$WEIGHTS" -o "training/$1"
    config=training/$1/student.yaml
}

pretrain() {
    local run=${teacher_run}_pretrained extra
    use_model "$TEACHER" TEACHER
    mapfile -t extra < <(cuda)
    mkdir -p "training/$run"
    python -m kd_trainer unlabelled --data-config "$teacher_config" -o "training/$run/unlabelled.yaml"
    check "training/$run/unlabelled.yaml"
    run_training "$run" --data-config "training/$run/unlabelled.yaml" --network-config networks/contrastive.py \
        -o encoder "'$network'" "${model_args[@]}" -o seed "${SEEDS%% *}" "${extra[@]}" "$@"
    echo "to go on with labels: PRETRAINED=$(best "$run") ./train_kd.sh finetune"
}

finetune() {
    [[ $PRETRAINED ]] || fail "finetune starts from a checkpoint: name it with PRETRAINED=..."
    [[ -f $PRETRAINED ]] || fail "there is no checkpoint at PRETRAINED=$PRETRAINED"
    use_model "$TEACHER" TEACHER
    [[ $head ]] || fail "train_scripts/models/$TEACHER.sh does not name the output layer (head=...)"
    local extra config=$teacher_config
    mapfile -t extra < <(cuda)
    with_weights "${teacher_run}_finetuned"
    check "$config"
    # rates and epochs of arXiv 2407.08682: the new output layer learns 50 times faster than the rest
    run_training "${teacher_run}_finetuned" --data-config "$config" --network-config networks/finetune.py \
        -o encoder "'$network'" "${model_args[@]}" -o pretrained "'$PRETRAINED'" --num-epochs 20 --lr-scheduler none \
        --start-lr 1.6e-4 --optimizer-option lr_mult "('$head', 50)" "${extra[@]}" "$@"
    echo "to teach with it: TEACHER_WEIGHTS=$(best "${teacher_run}_finetuned")"
}

distil() { # distil RUN CONFIG [weaver arguments...]: a training through networks/distill.py
    local run=$1 config=$2 extra
    mapfile -t extra < <(cuda)
    run_training "$run" --data-config "$config" --data-config-val "training/$run/student.yaml" \
        --data-config-test "training/$run/student.yaml" --network-config networks/distill.py \
        -o student "'$network'" "${model_args[@]}" -o seed "$SEED" "${extra[@]}" "${@:3}"
}

for_each_student() { # for_each_student COMMAND [arguments...]: JOBS at a time
    for STUDENT in $STUDENTS; do
        for SEED in $SEEDS; do
            if ((JOBS == 1)); then
                "$@"
            else
                in_background "$@"
                if ((${#running[@]} == JOBS)); then wait_for_all; fi
            fi
        done
    done
    wait_for_all
}

in_background() { # a process group of its own, on one core, its progress bars in a file
    local log=logs/$report_run/$1_${STUDENT}_$SEED.log
    mkdir -p "${log%/*}"
    set -m
    (OMP_NUM_THREADS=1 && export OMP_NUM_THREADS && "$@") 2>"$log" &
    set +m
    running+=("$!")
    logs+=("$log")
}

wait_for_all() {
    local i
    for i in "${!running[@]}"; do
        wait "${running[i]}" || { tail -n 3 "${logs[i]}" >&2 && fail "a job failed: see ${logs[i]}"; }
    done
    running=() logs=()
}

train() {
    check "$student_config" "$teacher_config"
    for_each_student train_one "$@"
}

need_teacher() {
    [[ -f $(teacher_weights) ]] ||
        fail "there is no teacher at $(teacher_weights): train one (./train_kd.sh teacher) or name one (TEACHER_WEIGHTS=...)"
}

soft_targets() { # soft_targets PAIRED [arguments...]: the command `cache` for the teacher and the training files
    use_model "$TEACHER" TEACHER
    python -m kd_trainer cache --paired "$1" --network "$network" --weights "$(teacher_weights)" "${model_args[@]}" \
        --output "$CACHE" "${@:2}" "${data_train[@]}"
}

cache() {
    need_teacher
    check "$student_config" "$teacher_config"
    python -m kd_trainer pair --student "$student_config" --teacher "$teacher_config" --weights "$WEIGHTS" -o "$CACHE"
    soft_targets "$CACHE/paired.yaml" "$@"
}

train_one() { learn "$(student_run kd)" "$@"; }

learn() { # learn RUN [weaver arguments...]: a training of the student with the soft targets of the teacher or the cache
    need_teacher
    local run=$1 config=training/$1/paired.yaml cached=() teacher_network teacher_dict
    python -m kd_trainer pair --student "$student_config" --teacher "$teacher_config" --weights "$WEIGHTS" -o "training/$run"
    if [[ -f $CACHE/cached.yaml ]]; then
        local files
        files=$(soft_targets "$config" --check) ||
            fail "the soft targets in $CACHE are not those of this teacher and these files: ./train_kd.sh cache, or remove them (options of the teacher belong into train_scripts/models/$TEACHER.sh)"
        mapfile -t cached <<<"$files"
        cached=(-o kd_cache "'$config'" --data-train "${cached[@]}")
        config=$CACHE/cached.yaml
    fi
    use_model "$TEACHER" TEACHER
    teacher_network=$network teacher_dict=$model_dict
    use_model "$STUDENT" STUDENT
    distil "$run" "$config" "${cached[@]}" -o teacher "'$teacher_network'" -o teacher_options "{$teacher_dict}" \
        -o teacher_weights "'$(teacher_weights)'" -o kd_alpha "${KD_ALPHA:-${kd_alpha:-0.7}}" \
        -o kd_temperature "${KD_TEMPERATURE:-${kd_temperature:-3.0}}" "${@:2}"
}

baseline() {
    check "$student_config"
    for_each_student baseline_one "$@"
}

baseline_one() {
    local run
    run=$(student_run baseline)
    use_model "$STUDENT" STUDENT
    python -m kd_trainer pair --student "$student_config" --weights "$WEIGHTS" -o "training/$run"
    distil "$run" "training/$run/student.yaml" -o kd_alpha 0.0 "$@"
}

predict() { # predict NAME RUN CONFIG WEIGHTS [weaver arguments...], with the model in use
    local name=$1 run=$2 config=$3 weights=$4
    if [[ $skip_done && -f training/$run/pred.model.json ]] &&
        nothing_newer "training/$run/pred.model.json" "$weights" "$network" "$student_config" "$teacher_config" \
            "${data_test[@]}"; then
        echo "$run is predicted already"
        return
    fi
    mkdir -p "training/$run" "logs/$run"
    rm -f "training/$run"/pred.*
    local options
    mapfile -t options < <(network_options_in "${@:5}")
    local through=(--network-config "$network")
    if [[ $name != teacher* ]]; then # students: with the files checked, and with few figures for many classes
        through=(--network-config networks/distill.py -o student "'$network'" -o kd_alpha 0.0)
    fi
    weaver --predict --data-test "${data_test[@]}" --data-config "$config" "${through[@]}" "${model_args[@]}" \
        --model-prefix "$weights" --predict-output "$PWD/training/$run/pred.root" --num-workers 1 \
        "${training_options[@]}" "${device[@]}" --log-file "logs/$run/test.log" "${@:5}" >&3
    [[ -f training/$run/pred.root ]] || fail "the prediction of $run was not written: see logs/$run/test.log"
    python -m kd_trainer complexity --name "$name" --network "$network" --data-config "$config" "${model_args[@]}" \
        "${options[@]}" --output "training/$run/pred.model.json"
}

network_options_in() { # network_options_in ARGUMENTS...: the options of the network (-o name value) among them, a word a line
    while (($#)); do
        if [[ $1 == -o || $1 == --network-option ]]; then
            case $2 in
                kd_* | teacher* | seed | student | network | weight_bits | activation_bits) ;;
                *) printf '%s\n' -o "$2" "$3" ;;
            esac
            shift 2
        fi
        shift
    done
}

without_options() { # without_options ARGUMENTS...: all but -o name value, a word a line
    while (($#)); do
        if [[ $1 == -o || $1 == --network-option ]]; then shift 2; else printf '%s\n' "$1"; fi
        shift
    done
}

predict_all() { # options of the network (-o) are those of the students
    python -m kd_trainer check --data-config "$student_config" --data-config "$teacher_config" "${data_test[@]}"
    if [[ -f $(teacher_weights) ]]; then
        local arguments
        mapfile -t arguments < <(without_options "$@")
        if ((JOBS == 1)); then predict_teacher "${arguments[@]}"; else in_background predict_teacher "${arguments[@]}"; fi
    else
        echo "train_kd.sh: there is no teacher at $(teacher_weights), so it is left out" >&2
    fi
    for_each_student predict_student "$@"
    compgen -G "training/${DATASET}_*$COMMENT/pred.root" >/dev/null || fail "there is nothing to test: train a teacher and a student first"
}

predict_teacher() {
    use_model "$TEACHER" TEACHER
    predict "teacher ($TEACHER, $TEACHER_TIER)" "$teacher_run" "$teacher_config" "$(teacher_weights)" "$@"
}

predict_student() {
    local kind run
    use_model "$STUDENT" STUDENT
    for kind in kd baseline; do
        run=$(student_run "$kind")
        if [[ -f $(best "$run") ]]; then
            predict "$STUDENT $kind" "$run" "training/$run/student.yaml" "$(best "$run")" "$@"
        else
            echo "train_kd.sh: $run is not trained yet, so it is left out" >&2
        fi
    done
}

report() {
    local args=() pairs=() kind
    if [[ -f training/$teacher_run/pred.root ]]; then args+=("teacher=training/$teacher_run/pred.root"); fi
    for STUDENT in $STUDENTS; do
        for kind in kd baseline; do
            local files=()
            for SEED in $SEEDS; do
                files+=("training/$(student_run "$kind")/pred.root")
                [[ -f ${files[-1]} ]] || fail "there is no ${files[-1]}: run train, baseline and test first"
            done
            args+=("$STUDENT ${kind/kd/distilled}=$(IFS=,; echo "${files[*]}")")
        done
        pairs+=("$STUDENT distilled=$STUDENT baseline")
    done
    if [[ -f training/$latency_run/latency.json ]]; then args+=(--latency "training/$latency_run/latency.json"); fi
    python -m kd_trainer report "${args[@]}" --compare "${pairs[@]}" --data-config "$student_config" \
        -o "training/$report_run" "$@"
}

convert() { for_each_student convert_one "$@"; }

need_student() {
    [[ -f $(best "$1") ]] || fail "there is no trained student at $(best "$1"): run ./train_kd.sh train first"
}

convert_one() {
    local run
    run=$(student_run kd)
    need_student "$run"
    use_model "$STUDENT" STUDENT
    export_model "$run" "training/$run/student.yaml" "$(best "$run")" "$@"
}

export_model() { # export_model RUN CONFIG WEIGHTS [weaver arguments...], the model in use
    local run=$1 config=$2 weights=$3 options
    mapfile -t options < <(network_options_in "${@:4}")
    weaver --data-config "$config" --network-config "$network" "${model_args[@]}" --model-prefix "$weights" \
        --export-onnx "training/$run/model.onnx" --log-file "logs/$run/convert.log" "${@:4}" >&3
    python -m kd_trainer deploy "training/$run" "${data_test[@]}" --network "$network" "${model_args[@]}" "${options[@]}" \
        --weights "$weights" --data-config "$config" "${deploy_options[@]}"
}

is_exported() { # is_exported RUN WEIGHTS: with these weights, and found equal to torch
    local sha
    sha=$(sha256sum <"$2")
    grep -qs '"passed": true' "training/$1/parity.json" && grep -q "${sha%% *}" "training/$1/parity.json"
}

quantise() { for_each_student quantise_one "$@"; }

quantise_one() {
    local run tuned options
    mapfile -t options < <(network_options_in "$@")
    run=$(student_run kd)
    tuned=${run}_quantised
    if ((WEIGHT_BITS != 7)); then tuned+=_${WEIGHT_BITS}bit; fi
    need_student "$run"
    use_model "$STUDENT" STUDENT
    if ! is_exported "$run" "$(best "$run")"; then convert_one "${options[@]}"; fi
    learn "$tuned" -o student "'networks/quantised.py'" -o network "'$network'" -o weight_bits "$WEIGHT_BITS" \
        --load-model-weights "$(best "$run")" --num-epochs 5 --start-lr 1e-3 "$@"
    export_model "$tuned" "training/$tuned/student.yaml" "$(best "$tuned")" "${options[@]}"
    python -m kd_trainer quantise "training/$tuned" "${data_train[@]}" --before "training/$run" \
        --test "${data_test[@]}" --weight-bits "$WEIGHT_BITS"
}

latency() { # the first seed of each student
    local args=()
    SEED=${SEEDS%% *}
    if [[ -f $(teacher_weights) ]]; then
        if ((JOBS == 1)); then export_teacher; else in_background export_teacher; fi
        args+=("teacher=training/$teacher_run/model.onnx")
    else
        echo "train_kd.sh: there is no teacher at $(teacher_weights), so it is left out" >&2
    fi
    SEEDS=$SEED for_each_student export_student
    for STUDENT in $STUDENTS; do args+=("$STUDENT distilled=training/$(student_run kd)/model.onnx"); done
    python -m kd_trainer bench latency "${args[@]}" --files "${data_test[@]}" -o "training/$latency_run" "$@"
}

export_student() {
    local run
    run=$(student_run kd)
    need_student "$run"
    if ! is_exported "$run" "$(best "$run")"; then convert_one; fi
}

export_teacher() {
    if is_exported "$teacher_run" "$(teacher_weights)"; then return; fi
    mkdir -p "training/$teacher_run" "logs/$teacher_run"
    use_model "$TEACHER" TEACHER
    deploy_options=(--jets 50 --static 0) # it is slow, and not for triggers
    export_model "$teacher_run" "$teacher_config" "$(teacher_weights)"
    deploy_options=()
}

case $mode in
    test) predict_all "$@" ;;
    demo)
        # shellcheck source=train_scripts/demo.sh
        source train_scripts/demo.sh
        demo "$@"
        ;;
    *) "$mode" "$@" ;;
esac
