# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by train_kd.sh and train_ssl.sh, with `here` the folder that they were called from: settings, devices, runs.

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

absolute() { if [[ -z $1 || $1 == /* ]]; then echo "$1"; else echo "$here/$1"; fi; } # a path in a setting is the caller's

choices() { basename -s .sh "$1"/*.sh | paste -sd ' '; }

export PYTHONHASHSEED=0 # weaver walks through sets of file groups: their order is part of the seed

# what the files of train_scripts/datasets and train_scripts/models set
data_config='' data_train=() data_val=() data_test=() data_options=()
epochs=0 samples_per_epoch=0 samples_per_epoch_val=0
network='' network_options=() training_options=() cuda_options=() head='' kd_alpha='' kd_temperature=''

source_setting() { # source_setting DIR NAME SETTING
    [[ -f train_scripts/$1/$2.sh ]] || fail "unknown $3 '$2': there are $(choices "train_scripts/$1")"
    # shellcheck disable=SC1090
    source "train_scripts/$1/$2.sh"
}

need_tier() { # need_tier TIER DATASET, the dataset in use
    [[ -f ${data_config}_$1.yaml ]] ||
        fail "unknown tier '$1' of $2: there are $(basename -s .yaml "$data_config"_*.yaml | grep -v '\.auto$' | sed 's/.*_//' | paste -sd ' ')"
}

has_gpu() { # torch is asked, which takes seconds, only where there is a device of NVIDIA, AMD or WSL
    if ! compgen -G '/dev/nvidia*' >/dev/null && [[ ! -e /dev/kfd && ! -e /dev/dxg ]]; then return 1; fi
    python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'
}

find_devices() { # sets `device`, the arguments of weaver, and `weaver`, the command, for DDP_NGPUS
    if has_gpu; then
        device=(--gpus 0)
    else
        device=(--gpus '')
        ((DDP_NGPUS == 1)) || fail "DDP_NGPUS is $DDP_NGPUS, but there is no CUDA device here"
    fi
    if ((DDP_NGPUS > 1)); then
        weaver=(torchrun --standalone --nnodes=1 "--nproc_per_node=$DDP_NGPUS" "$(command -v weaver)" --backend nccl)
    else
        weaver=(weaver)
    fi
}

best() { echo "training/$1/net_best_epoch_state.pt"; } # best RUN

nothing_newer() { # nothing_newer FILE PATTERN...: no file of the patterns has changed since FILE was written
    local pattern file
    for pattern in "${@:2}"; do
        while IFS= read -r file; do
            if [[ $file -nt $1 ]]; then return 1; fi
        done < <(compgen -G "${pattern#*:}")
    done
}

running=() logs=() # jobs in the background, each a process group of its own

stop_all() {
    local pid
    for pid in "${running[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
}
trap stop_all EXIT
trap 'exit 130' INT TERM
