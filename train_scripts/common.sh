# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# Sourced by the scripts: changes to the root of the repository; `caller` is the folder that the script was called from.
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

finish() { echo "${dry_run:+# }$*" && exit; } # --dry-run prints the message as a comment

help() { # prints the comments at the top of the script, then its settings with their defaults
    local script=train_scripts/${0##*/}
    sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$script"
    sed -nE 's/^(export )?([A-Z_]+)=\$\{[A-Z_]+:-(.*)\} +# (.*)$/\2|\4 (default: \3)/p' "$script" | sed 's/ (default: )$//' |
        while IFS='|' read -r name text; do printf '  %-19s %s\n' "$name" "$text"; done
}

start() { # start MODES "$@": sets `mode`, `dry_run`, `arguments` (for weaver) and `allowed` (for `check`)
    local modes=$1
    mode=${2:-} dry_run='' arguments=("${@:3}")
    case $mode in
        -h | --help) help && exit ;;
        '') help >&2 && exit 2 ;;
    esac
    if [[ " $modes " != *" $mode "* ]]; then
        echo "${0##*/}: unknown mode '$mode': see $0 --help" >&2
        exit 2
    fi
    if [[ ${arguments[0]:-} == --dry-run ]]; then
        dry_run=--dry-run arguments=("${arguments[@]:1}")
        printf 'cd %q && source train_scripts/setup.sh\n' "$PWD"
    fi
    allowed=()
    if [[ " ${arguments[*]} " == *' allow_missing_classes True '* ]]; then allowed=(--allow-missing-classes); fi
}

# if the script is killed, the command that it runs ends too
together=()
if command -v setpriv >/dev/null; then together=(setpriv --pdeathsig TERM); fi

run() { # run COMMAND...: runs the command, or prints it ready to paste (--dry-run)
    local word text=''
    if [[ ! $dry_run ]]; then
        "${together[@]}" "$@"
        return
    fi
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_.,:=/+-]+$ ]]; then
            text+=" $word"
        elif [[ $word == *[\"\\\$\`]* || $word != *\'* ]]; then
            text+=" ${word@Q}"
        else
            text+=" \"$word\""
        fi
    done
    echo "${text# }"
}

absolute() { if [[ -z $1 || $1 == /* ]]; then echo "$1"; else echo "$caller/$1"; fi; } # paths in settings are relative to the caller's folder

paths_of_caller() { # paths_of_caller SETTING...: makes the path in each setting absolute
    local name
    for name in "$@"; do
        printf -v "$name" %s "$(absolute "${!name:-}")"
        [[ ${!name} != *:* ]] || fail "$name is '${!name}': weaver takes the text before a colon as a group name, use a path without a colon"
    done
}

lists_of_caller() { # lists_of_caller SETTING...: the same for lists `PATTERN NAME:PATTERN ...`
    local name word words list
    for name in "$@"; do
        list=''
        read -ra words <<<"${!name:-}"
        if [[ -f $(absolute "${!name:-}") ]]; then words=() list=" $(absolute "${!name}")"; fi # its path may have spaces
        for word in "${words[@]}"; do
            [[ ${word#*:} == /* || $caller != *' '* ]] || fail "the path of the folder $caller contains a space: give absolute paths in $name"
            if [[ $word == *:* ]]; then list+=" ${word%%:*}:$(absolute "${word#*:}")"; else list+=" $(absolute "$word")"; fi
        done
        printf -v "$name" %s "${list# }"
    done
}

words_of() { # words_of TEXT: sets `words`; the path of an existing file is one word, even with spaces
    if [[ -f $1 ]]; then words=("$1"); else read -ra words <<<"$1"; fi
}

again() { # again MODE [arguments...]: runs this script again with the present settings
    "${together[@]}" "train_scripts/${0##*/}" "$1" ${dry_run:+"$dry_run"} "${@:2}"
}

once_for_each() { # once_for_each SETTING...: if a setting has several words, runs the script once for each word and exits
    local name word
    for name in "$@"; do
        if [[ ${!name} == *' '* ]]; then
            [[ ! $RUN ]] || fail "RUN=$RUN names one run, but $name='${!name}' makes several"
            for word in ${!name}; do export "$name=$word" && again "$mode" "${arguments[@]}"; done
            exit
        fi
    done
}

need_seeds() { # need_seeds SETTING...: each must hold one or several whole numbers
    local name
    for name in "$@"; do
        [[ ${!name} =~ ^(0|[1-9][0-9]*)( +(0|[1-9][0-9]*))*$ ]] || fail "$name is '${!name}': it must be a whole number, for example 1"
    done
}

need_count() { # need_count SETTING LEAST: it must be a whole number, at least LEAST
    [[ ${!1} =~ ^[1-9][0-9]{0,8}$ && ${!1} -ge $2 ]] || fail "$1 is '${!1}': it must be a whole number, at least $2"
}

need_number() { # need_number 'CONDITION ON x' TEXT SETTING...: each must be a number x that fulfils the condition
    local name
    for name in "${@:3}"; do
        awk -v x="${!name}" "BEGIN { exit !(x ~ /^([0-9]+\.?[0-9]*|\.[0-9]+)(e-?[0-9]+)?\$/ && $1) }" || fail "$name is '${!name}': it must $2"
    done
}

need_choice() { # need_choice SETTING WORD...
    [[ " ${*:2} " == *" ${!1} "* ]] || fail "$1 is '${!1}': it must be one of: ${*:2}"
}

need_files() { # need_files SETTING...: each must be empty or an existing file
    local name
    for name in "$@"; do [[ -z ${!name} || -f ${!name} ]] || fail "$name=${!name}: there is no such file"; done
}

quoted() { # quoted TEXT...: prints it as a Python string for weaver's -o; several texts as a list
    local text texts=''
    for text in "$@"; do
        text=${text//\\/\\\\}
        texts+=",'${text//\'/\\\'}'"
    done
    if (($# == 1)); then echo "${texts#,}"; else echo "[${texts#,}]"; fi
}

as_dict() { # as_dict -o NAME VALUE -o NAME VALUE ...: prints them as a Python dict for weaver's -o
    local text=''
    while (($#)); do text+=", '$2': $3" && shift 3; done
    echo "{${text#, }}"
}

split_options() { # split_options ARGUMENTS...: sets `net_options` (-o name value of the network) and `others` (the rest)
    net_options=() others=()
    while (($#)); do
        if [[ $1 != -o && $1 != --network-option ]]; then
            others+=("$1") && shift
        else
            [[ $2 =~ ^(kd_.*|teacher.*|pretrained|seed|restart|allow_missing_classes|student|network|trained|ebops_weight)$ ]] ||
                net_options+=(-o "$2" "$3")
            shift 3
        fi
    done
}

# the files of train_scripts/datasets and train_scripts/models set these variables
data_config='' data_train=() data_val=() data_test=() data_options=() default_teacher=ParT default_teacher_tier=full default_tier=l1
report_options=()
epochs=0 samples_per_epoch=0 samples_per_epoch_val=0
network='' deploy_options=()

choose() { # choose models|datasets NAME SETTING: sources the file of this name
    [[ -f train_scripts/$1/$2.sh ]] ||
        fail "unknown $3 '$2': valid are $(basename -s .sh "train_scripts/$1"/*.sh | paste -sd ' ')"
    if [[ $1 == models ]]; then options=() training=() cuda=() head='' kd_alpha=0.7 kd_temperature=3.0; fi
    # shellcheck disable=SC1090
    source "train_scripts/$1/$2.sh"
}

need_tier() { # need_tier TIER DATASET: the chosen dataset must have a data config for this tier
    [[ -f ${data_config}_$1.yaml ]] ||
        fail "unknown tier '$1' of $2: valid are $(basename -s .yaml "$data_config"_*.yaml | grep -v '\.auto$' | sed 's/.*_//' | paste -sd ' ')"
}

has_gpu() { # importing torch takes seconds, so look first for a device file of NVIDIA, AMD or WSL
    if ! compgen -G '/dev/nvidia*' >/dev/null && [[ ! -e /dev/kfd && ! -e /dev/dxg ]]; then return 1; fi
    python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'
}

prepare() { # prepare LIST...: sets up the environment and the lists of files that the mode reads (FILES); sets `kd`, `weaver`
    # and weaver's arguments `device`, `sample` and `seeded`; empties the `cuda` options if there is no GPU
    # shellcheck source=train_scripts/setup.sh
    if [[ ! $dry_run ]]; then source train_scripts/setup.sh; fi
    kd=(python -m kd_trainer) weaver=(weaver) device=(--gpus 0)
    if [[ $FILES ]]; then need_choice FILES found && take_found "$@"; fi
    if ! has_gpu; then
        ((DDP_NGPUS == 1)) || fail "DDP_NGPUS is $DDP_NGPUS, but there is no CUDA device here"
        device=(--gpus '') cuda=() teacher_cuda=()
    fi
    if ((DDP_NGPUS > 1)); then
        weaver=(torchrun --standalone --nnodes=1 "--nproc_per_node=$DDP_NGPUS" "$(command -v weaver)" --backend nccl)
    fi
    sample=(--data-train "${data_train[@]}" --data-val "${data_val[@]}" "${data_options[@]}" --no-remake-weights
        --samples-per-epoch $((samples_per_epoch / DDP_NGPUS)) --samples-per-epoch-val "$samples_per_epoch_val"
        --num-epochs "$epochs" --optimizer ranger "${device[@]}")
    seeded=(-o restart "'$RESTART'" -o seed) # the caller appends the seed
}

take_found() { # take_found LIST...: keeps only the existing files of each list
    local name there
    for name in "$@"; do
        local -n files=$name
        if ((${#files[@]} == 0)); then continue; fi
        there=$("${kd[@]}" files "${files[@]}") || exit 1
        mapfile -t files <<<"$there"
    done
}

check() { # check CONFIG...
    run "${kd[@]}" check "${@/#/--data-config=}" "${allowed[@]}" "${data_train[@]}" "${data_val[@]}"
}

called() { # called RUN: sets `name`, and `outputs`: weaver's arguments for the files of the training
    name=$1 outputs=(--model-prefix "training/$1/net" --log-file "logs/$1/train.log" --tensorboard "_$1")
}

into() { run mkdir -p "training/$1" "logs/$1"; } # into RUN: makes the folders of the run

train() { # train COMMAND...: trains the run `name` until it is complete
    into "$name"
    if [[ $RESTART != no ]] || ! is_trained "$name"; then # an old prediction must not be mistaken for a new one
        run rm -f "training/$name/pred.root" "training/$name/pred.model.json"
    fi
    run "$@"
    need_trained "$name"
}

is_trained() { [[ $dry_run || -f training/$1/net_record.json ]]; } # is_trained RUN: whether its training is complete

need_trained() { # need_trained RUN
    is_trained "$1" || fail "the training $1 is not complete: run the same command again to continue it; see logs/$1/train.log" \
        "(to use its best epoch so far, copy training/$1/net_best_epoch_state.pt to another folder)"
}

need_whole() { # need_whole CHECKPOINT: the training that made it must be complete and must have recorded this file
    local path=${1#"$PWD/"} prefix=${1%_best_epoch_state.pt} sum
    local made=${path#training/}
    if [[ $made != "$path" ]]; then
        [[ $dry_run || -d training/${made%/*} ]] || fail "there is no checkpoint $path: train it first"
        need_trained "${made%/*}"
    fi
    if [[ $dry_run || ! -f $1 ]]; then return; fi
    [[ -f ${prefix}_record.json || ! -f ${prefix}_resume.pt ]] ||
        fail "$1 belongs to an incomplete training: run the training again to continue it"
    if grep -qs '"sha256": "' "${prefix}_record.json"; then # weaver would load any file of this name
        sum=$(sha256sum <"$1")
        grep -q "\"sha256\": \"${sum%% *}\"" "${prefix}_record.json" ||
            fail "$1 is not the checkpoint recorded in ${prefix}_record.json (its SHA-256 differs): restore the recorded file"
    fi
}

need_pretrained() { if [[ $PRETRAINED ]]; then need_whole "$PRETRAINED"; fi; }

workflow() { # workflow FOLDER CORES [arguments...]: runs snakemake; guard.py ends all its processes and allows one run at a time
    local profile=$PROFILE
    if [[ -d train_scripts/profiles/$PROFILE ]]; then profile=train_scripts/profiles/$PROFILE; fi
    [[ $dry_run ]] || kd_need workflow
    together=(exec)
    run train_scripts/guard.py "$1/.lock" snakemake --snakefile train_scripts/Snakefile --profile "$profile" --cores "$2" "${@:3}"
}
