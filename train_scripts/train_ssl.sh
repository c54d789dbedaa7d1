#!/usr/bin/env bash
# Pre-training without labels, training on few labels, and a scan of both, with weaver.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: train_scripts/train_ssl.sh MODE [weaver arguments...]

modes
  pretrain  train MODEL without labels (contrastive) on a fraction of the files of PRETRAIN_DATASET
  finetune  train it with labels from there: the encoder slowly, the output layer HEAD_RATE times faster
  linear    train the output layer alone; the encoder stays as it is, bit by bit
  scratch   train it with labels from random weights
  scan      pre-train with each of PRETRAIN_FRACTION, then train with each of FRACTION, MODES and SEED; table and plot

Arguments after the mode go to weaver and override: train_scripts/train_ssl.sh scan --num-epochs 10
An interrupted scan goes on with the same command: complete runs stay, unless their settings or files have changed.

settings (environment)
  DATASET           with labels: TopLandscape (default) or another of train_scripts/datasets/*.sh
  DATADIR           where its files are (default datasets/$DATASET)
  PRETRAIN_DATASET  without labels: JetClass (default) or another
  PRETRAIN_DATADIR  where its files are (default datasets/$PRETRAIN_DATASET)
  MODEL             ParT (default) or another of train_scripts/models/*.sh
  TIER              data config of both datasets: kin (default), kinpid, full, hlt, l1
  FRACTION          of the labelled training jets (default 1; scan: "0.01 0.03 0.1 0.3 1")
  PRETRAIN_FRACTION of the jets of the pre-training (default 1), or for scan several: "0.1 1"
  WEIGHTS           *.auto.yaml with the sampling weights of a TIER that has them (JetClassII)
  PRETRAINED        the checkpoint that finetune and linear start from (default: that of pretrain)
  SEED              of the training (default 1; scan: "1 2 3")
  PRETRAIN_SEED     of the pre-training (default 1); in a scan, "each" pre-trains with each SEED
  HEAD_RATE         how much faster than the encoder the output layer learns in finetune (default 10)
  MODES             of a scan (default "scratch linear finetune")
  PRETRAIN_ARGS     weaver arguments for the pre-training alone: "--num-epochs 50"
  COMMENT           suffix of the names of runs
  JOBS              runs of a scan at a time, each on one core if several (default 1)
  DDP_NGPUS         number of GPUs for DDP training (default 1)
  VENV              where to install weaver if the active environment has none (default .venv)

results: training/<run>/net_best_epoch_state.pt and pred.root, logs/<run>/train.log, training/<scan>/efficiency.*
EOF
}

mode=${1:-}
case $mode in
    -h | --help) usage; exit 0 ;;
    pretrain | finetune | linear | scratch | scan) ;;
    '') usage >&2; exit 2 ;;
    *) echo "train_ssl.sh: unknown mode '$mode': see train_scripts/train_ssl.sh --help" >&2; exit 2 ;;
esac
shift

here=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=train_scripts/common.sh
source train_scripts/common.sh
labelled_dir=$(absolute "${DATADIR:-}")
unlabelled_dir=$(absolute "${PRETRAIN_DATADIR:-}")
PRETRAINED=$(absolute "${PRETRAINED:-}")
WEIGHTS=$(absolute "${WEIGHTS:-}")

DATASET=${DATASET:-TopLandscape}
PRETRAIN_DATASET=${PRETRAIN_DATASET:-JetClass}
MODEL=${MODEL:-ParT}
TIER=${TIER:-kin}
PRETRAIN_FRACTIONS=${PRETRAIN_FRACTION:-1}
PRETRAIN_SEED=${PRETRAIN_SEED:-1}
if [[ $mode == scan ]]; then
    FRACTIONS=${FRACTION:-0.01 0.03 0.1 0.3 1}
    SEEDS=${SEED:-1 2 3}
else
    FRACTIONS=${FRACTION:-1}
    SEEDS=${SEED:-1}
    for several in "FRACTION=$FRACTIONS" "SEED=$SEEDS" "PRETRAIN_FRACTION=$PRETRAIN_FRACTIONS"; do
        [[ $several != *' '* ]] || fail "$several names several: that is for scan"
    done
fi
MODES=${MODES:-scratch linear finetune}
HEAD_RATE=${HEAD_RATE:-10}
COMMENT=${COMMENT:-}
JOBS=${JOBS:-1}
DDP_NGPUS=${DDP_NGPUS:-1}
read -ra pretrain_args <<<"${PRETRAIN_ARGS:-}"

is_fraction() { awk -v f="$1" 'BEGIN { exit !(f ~ /^[0-9.]+(e-?[0-9]+)?$/ && f > 0 && f <= 1) }'; }
for f in $FRACTIONS; do is_fraction "$f" || fail "FRACTION is '$f': it must be above 0, and 1 at most"; done
for f in $PRETRAIN_FRACTIONS; do is_fraction "$f" || fail "PRETRAIN_FRACTION is '$f': it must be above 0, and 1 at most"; done
for s in $SEEDS ${PRETRAIN_SEED/#each/1}; do [[ $s =~ ^[0-9]+$ ]] || fail "SEED or PRETRAIN_SEED is '$s': it must be a number"; done
for m in $MODES; do
    [[ $m =~ ^(scratch|linear|finetune)$ ]] || fail "MODES has '$m': there are scratch linear finetune"
done
[[ $JOBS =~ ^[1-9][0-9]*$ ]] || fail "JOBS is '$JOBS': it must be a number above 0"
[[ ! $PRETRAINED || -f $PRETRAINED ]] || fail "there is no checkpoint at PRETRAINED=$PRETRAINED"
[[ $HEAD_RATE =~ ^[0-9]*\.?[0-9]+$ && $HEAD_RATE =~ [1-9] ]] || fail "HEAD_RATE is '$HEAD_RATE': it must be a number above 0"
[[ ! $WEIGHTS || -f $WEIGHTS ]] || fail "there are no sampling weights at WEIGHTS=$WEIGHTS"

use_labelled() { DATADIR=$labelled_dir && source_setting datasets "$DATASET" DATASET && use_tier "$DATASET"; }
use_unlabelled() { DATADIR=$unlabelled_dir && source_setting datasets "$PRETRAIN_DATASET" PRETRAIN_DATASET && use_tier "$PRETRAIN_DATASET"; }
use_tier() { # use_tier DATASET
    config=${data_config}_$TIER.yaml
    need_tier "$TIER" "$1"
}
needs_unlabelled() { # whether an encoder is pre-trained here, or was
    local modes=$mode
    if [[ $mode == scan ]]; then modes=$MODES; fi
    [[ $modes == pretrain || ($modes != scratch && ! $PRETRAINED) ]]
}
if needs_unlabelled; then use_unlabelled; fi
use_labelled
source_setting models "$MODEL" MODEL
[[ $head ]] || fail "train_scripts/models/$MODEL.sh does not name the output layer (head=...)"
model_args=()
for ((i = 0; i < ${#network_options[@]}; i += 2)); do
    model_args+=(-o "${network_options[i]}" "${network_options[i + 1]}")
done
start_lr=''
for ((i = 0; i < ${#training_options[@]}; i++)); do
    if [[ ${training_options[i]} == --start-lr ]]; then start_lr=${training_options[i + 1]}; fi
done
[[ $start_lr ]] || fail "train_scripts/models/$MODEL.sh does not set --start-lr"

# shellcheck source=train_scripts/setup.sh
source train_scripts/setup.sh

find_devices
if [[ ${device[1]} ]]; then model_args+=("${cuda_options[@]}"); fi
scan_run=${DATASET}_${MODEL}_${TIER}_scan$COMMENT

seed_of_pretraining() { if [[ $PRETRAIN_SEED == each ]]; then echo "$SEED"; else echo "$PRETRAIN_SEED"; fi; }
pretrained_run() { echo "${PRETRAIN_DATASET}_${MODEL}_${TIER}_pretrained_${PRETRAIN_FRACTION}_seed$(seed_of_pretraining)$COMMENT"; }
labelled_run() { # labelled_run MODE
    local from=''
    if [[ $1 != scratch && ! $PRETRAINED ]]; then from=_from_${PRETRAIN_DATASET}_$PRETRAIN_FRACTION; fi
    echo "${DATASET}_${MODEL}_${TIER}_$1${from}_${FRACTION}_seed$SEED$COMMENT"
}
pretrained_weights() { echo "${PRETRAINED:-$(best "$(pretrained_run)")}"; }

check() { python -m kd_trainer check --data-config "$@"; } # check CONFIG FILES...: before a training

declare -A jets=() # of a data config that subset has written: in the training files

subset() { # subset CONFIG NAME FRACTIONS [arguments...]: data configs NAME_<fraction>.yaml of trainings
    local fractions fraction number rest lines
    read -ra fractions <<<"$3"
    lines=$(python -m kd_trainer subset --data-config "$1" -o "$2" --fraction "${fractions[@]}" "${@:4}" --files "${data_train[@]}")
    echo "$lines"
    while read -r fraction number rest; do jets[$2_${fraction%:}]=$number; done <<<"$lines"
}

all_there() { for file in "$@"; do [[ -f $file ]] || return 1; done; }

run_training() { # run_training RUN CONFIG START [weaver arguments...]: START is a checkpoint that it begins with, or ''
    local run=$1 recipe more=(--tensorboard "_$1") expected
    expected=("$(best "$run")")
    for argument in "${@:4}"; do if [[ $argument == --predict-output ]]; then expected+=("training/$run/pred.root"); fi; done
    recipe=$(cksum <<<"${*@Q} ${model_args[*]@Q} ${training_options[*]@Q} $epochs $samples_per_epoch ${data_train[*]@Q} $(cksum <"$2")")
    if [[ $mode == scan ]]; then
        more=(--auto-clean)
        if [[ -f training/$run/done && $(<"training/$run/done") == "$recipe" ]] && all_there "${expected[@]}" &&
            nothing_newer "training/$run/done" "$3" "$config" "$network" "${data_train[@]}" "${data_val[@]}" "${data_test[@]}"; then
            echo "$run is trained already"
            return
        fi
        rm -f "training/$run"/net_*
    fi
    rm -f "training/$run"/{done,pred.root}
    mkdir -p "training/$run" "logs/$run"
    "${weaver[@]}" --no-remake-weights --data-train "${data_train[@]}" --data-val "${data_val[@]}" "${data_options[@]}" \
        --data-config "$2" --samples-per-epoch $((samples_per_epoch / DDP_NGPUS)) \
        --samples-per-epoch-val "$samples_per_epoch_val" --num-epochs "$epochs" --optimizer ranger \
        "${training_options[@]}" "${model_args[@]}" "${device[@]}" "${more[@]}" \
        --model-prefix "training/$run/net" --log-file "logs/$run/train.log" "${@:4}"
    for file in "${expected[@]}"; do [[ -f $file ]] || fail "$run left no $file: see logs/$run/train.log"; done
    echo "$recipe" >"training/$run/done"
}

prepare_unlabelled() { # prepare_unlabelled FOLDER: data configs of the pre-training
    local several=$PRETRAIN_FRACTIONS
    use_unlabelled
    [[ " $several " == *' 1 '* ]] || several+=' 1' # all jets, for the validation
    subset "$config" "$1/unlabelled" "$several" --unlabelled
    check "$1/unlabelled_1.yaml" "${data_train[@]}" "${data_val[@]}"
}

prepare_labelled() { # prepare_labelled FOLDER: data configs of the trainings with labels
    local several=$FRACTIONS
    use_labelled
    [[ " $several " == *' 1 '* ]] || several+=' 1' # all jets, for the validation
    subset "$config" "$1/labelled" "$several" ${WEIGHTS:+--weights "$WEIGHTS"}
    check "$config" "${data_train[@]}" "${data_val[@]}" "${data_test[@]}"
}

pretrain_one() { # pretrain_one FOLDER [weaver arguments...]
    use_unlabelled
    data_test=()
    run_training "$(pretrained_run)" "$1/unlabelled_$PRETRAIN_FRACTION.yaml" '' --data-config-val "$1/unlabelled_1.yaml" \
        --network-config networks/contrastive.py -o encoder "'$network'" -o seed "$(seed_of_pretraining)" "${@:2}" \
        "${pretrain_args[@]}"
}

labelled_one() { # labelled_one MODE FOLDER [weaver arguments...]
    local run start='' options=() rate=$start_lr
    use_labelled
    run=$(labelled_run "$1")
    if [[ $1 != scratch ]]; then
        start=$(pretrained_weights)
        options=(-o pretrained "'$start'")
    fi
    if [[ $1 == linear ]]; then options+=(-o frozen True); fi
    if [[ $1 == finetune ]]; then
        rate=$(awk -v lr="$start_lr" -v k="$HEAD_RATE" 'BEGIN { print lr / k }')
        options+=(--optimizer-option lr_mult "('$head', $HEAD_RATE)")
    fi
    # one schedule for all starts; weaver's default would not let the rate of the encoder decay
    run_training "$run" "$2/labelled_$FRACTION.yaml" "$start" --data-config-val "$2/labelled_1.yaml" --data-config-test "$config" \
        --data-test "${data_test[@]}" --predict-output "$PWD/training/$run/pred.root" \
        --network-config networks/finetune.py -o encoder "'$network'" -o seed "$SEED" "${options[@]}" \
        --start-lr "$rate" --lr-scheduler flat+cos --warmup-steps 0 "${@:3}"
}

single() { # single MODE [weaver arguments...]
    local run
    FRACTION=$FRACTIONS PRETRAIN_FRACTION=$PRETRAIN_FRACTIONS SEED=$SEEDS
    if [[ $1 == pretrain ]]; then
        run=$(pretrained_run)
        prepare_unlabelled "training/$run"
        pretrain_one "training/$run" "${@:2}"
        echo "to go on with labels, with the same settings: train_scripts/train_ssl.sh finetune"
    else
        run=$(labelled_run "$1")
        [[ $1 == scratch || -f $(pretrained_weights) ]] ||
            fail "there is no encoder at $(pretrained_weights): pre-train it (train_ssl.sh pretrain) or name one (PRETRAINED=...)"
        prepare_labelled "training/$run"
        labelled_one "$1" "training/$run" "${@:2}"
        echo "$run: training/$run/pred.root"
    fi
}

in_background() { # in_background NAME COMMAND...: JOBS at a time, each a process group of its own, its output in a file
    local log=logs/$scan_run/$1.log
    while ((${#running[@]} >= JOBS)); do reap; done
    mkdir -p "${log%/*}"
    set -m
    (if ((JOBS > 1)); then export OMP_NUM_THREADS=1; fi && "${@:2}") >"$log" 2>&1 &
    set +m
    running+=("$!")
    logs+=("$log")
}

reap() { # wait until something has ended
    local i still=() open=()
    sleep 0.3
    for i in "${!running[@]}"; do
        if kill -0 "${running[i]}" 2>/dev/null; then
            still+=("${running[i]}")
            open+=("${logs[i]}")
        elif ! wait "${running[i]}"; then
            tail -n 3 "${logs[i]}" >&2
            fail "a run failed: see ${logs[i]}"
        else
            grep -h 'is trained already' "${logs[i]}" || echo "done ($((++finished)) of $planned): $(basename -s .log "${logs[i]}")"
        fi
    done
    running=("${still[@]}")
    logs=("${open[@]}")
}

wait_for_all() { while ((${#running[@]})); do reap; done; }

starts() { # starts MODE: the fractions of the pre-training that it is run for
    if [[ $1 == scratch ]]; then echo none; elif [[ $PRETRAINED ]]; then echo given; else echo "$PRETRAIN_FRACTIONS"; fi
}

scan() {
    local folder=training/$scan_run seeds=$PRETRAIN_SEED sizes=() m name files args=()
    python -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("matplotlib") and u.find_spec("mplhep")))' || fail "the plot needs matplotlib and mplhep: pip install -e '.[plot]'"
    if needs_unlabelled; then
        prepare_unlabelled "$folder"
        if [[ $PRETRAIN_SEED == each ]]; then seeds=$SEEDS; fi
        for PRETRAIN_FRACTION in $PRETRAIN_FRACTIONS; do
            for SEED in $seeds; do sizes+=("$PRETRAIN_FRACTION $SEED"); done
        done
    fi
    prepare_labelled "$folder"
    finished=0 planned=${#sizes[@]}
    for m in $MODES; do planned=$((planned + $(wc -w <<<"$(starts "$m")") * $(wc -w <<<"$FRACTIONS") * $(wc -w <<<"$SEEDS"))); done
    for size in "${sizes[@]}"; do
        read -r PRETRAIN_FRACTION SEED <<<"$size"
        in_background "$(pretrained_run)" pretrain_one "$folder" "$@"
    done
    wait_for_all
    for FRACTION in $FRACTIONS; do
        for m in $MODES; do
            for PRETRAIN_FRACTION in $(starts "$m"); do
                for SEED in $SEEDS; do in_background "$(labelled_run "$m")" labelled_one "$m" "$folder" "$@"; done
            done
        done
    done
    wait_for_all
    for m in $MODES; do
        for PRETRAIN_FRACTION in $(starts "$m"); do
            name=$m
            if [[ $PRETRAIN_FRACTION =~ ^[0-9] ]]; then name="$m, ${jets[$folder/unlabelled_$PRETRAIN_FRACTION]} unlabelled"; fi
            for FRACTION in $FRACTIONS; do
                files=''
                for SEED in $SEEDS; do files+=,training/$(labelled_run "$m")/pred.root; done
                args+=("$name:${jets[$folder/labelled_$FRACTION]}=${files#,}")
            done
        done
    done
    use_labelled
    python -m kd_trainer efficiency "${args[@]}" --data-config "$config" --title "$MODEL, $DATASET" -o "$folder"
}

if [[ $mode == scan ]]; then scan "$@"; else single "$mode" "$@"; fi
