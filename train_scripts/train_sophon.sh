#!/usr/bin/env bash
# Sophon on JetClass-II (arXiv 2405.12972): the modes, settings, file ranges and outputs that its users know.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: train_scripts/train_sophon.sh MODE [weaver arguments...]

modes
  make_weight  sampling weights from the training and validation files, before any training
  train        train Sophon: 188 classes, 80 epochs of 10000*1024 jets
  convert      export the best epoch to ONNX, with its embedding (-o export_embed True)

settings (environment)
  DATADIR      where JetClass-II is (default datasets/JetClassII)
  COMMENT      suffix of the name of the run
  DDP_NGPUS    number of GPUs for DDP training (default 1); scale the learning rate with it

results: training/JetClassII_Sophon/net_best_epoch_state.pt, logs/JetClassII_Sophon/
As teacher of a student: ./train_kd.sh train, with TEACHER_WEIGHTS=training/JetClassII_Sophon/net_best_epoch_state.pt
EOF
}

mode=${1:-}
case $mode in
    -h | --help) usage; exit 0 ;;
    make_weight | train | convert) ;;
    '') usage >&2; exit 2 ;;
    *) echo "train_sophon.sh: unknown mode '$mode': see train_scripts/train_sophon.sh --help" >&2; exit 2 ;;
esac
shift

here=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=train_scripts/common.sh
source train_scripts/common.sh
if [[ ${DATADIR:-} ]]; then DATADIR=$(absolute "$DATADIR"); fi
DDP_NGPUS=${DDP_NGPUS:-1}
# shellcheck source=train_scripts/datasets/JetClassII.sh
source train_scripts/datasets/JetClassII.sh
# shellcheck source=train_scripts/models/Sophon.sh
source train_scripts/models/Sophon.sh
# shellcheck source=train_scripts/setup.sh
source train_scripts/setup.sh

run=JetClassII_Sophon${COMMENT:-}
find_devices
model_args=()
for ((i = 0; i < ${#network_options[@]}; i += 2)); do
    model_args+=(-o "${network_options[i]}" "${network_options[i + 1]}")
done
if [[ ${device[1]} ]]; then model_args+=("${cuda_options[@]}"); fi
model=(--data-config "${data_config}_full.yaml" --network-config "$network" "${model_args[@]}" "${device[@]}")
training=("${data_options[@]}" "${training_options[@]}" --optimizer ranger --num-epochs "$epochs"
    --samples-per-epoch $((samples_per_epoch / DDP_NGPUS)) --samples-per-epoch-val "$samples_per_epoch_val"
    --model-prefix "training/$run/net")

if [[ $mode != convert ]]; then
    python -m kd_trainer check --data-config "${data_config}_full.yaml" "${data_train[@]}" "${data_val[@]}"
fi
case $mode in
    make_weight)
        "${weaver[@]}" --print --data-train "${data_train[@]#*:}" "${data_val[@]}" "${model[@]}" "${training[@]}" \
            --log-file "logs/$run/make_weight.log" "$@"
        ;;
    train)
        "${weaver[@]}" --no-remake-weights --data-train "${data_train[@]}" --data-val "${data_val[@]}" "${model[@]}" \
            "${training[@]}" --log-file "logs/$run/train.log" --tensorboard "$run" "$@"
        ;;
    convert)
        weights=training/$run/net_best_epoch_state.pt
        [[ -f $weights ]] || fail "there is no trained model at $weights: run train_scripts/train_sophon.sh train first"
        weaver --no-remake-weights "${model[@]}" -o export_embed True --model-prefix "$weights" --export-onnx model.onnx "$@"
        ;;
esac
