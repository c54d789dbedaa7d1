# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# Sourced by train_kd.sh: checks its settings and derives data configs, models, run names and checkpoints from them.

need_seeds SEED TEACHER_SEED
need_count DDP_NGPUS 1
[[ $EBOPS_WEIGHT == *' '* ]] || need_number 'x >= 0' 'be a number, 0 or above, for example 1e-6' EBOPS_WEIGHT # several values are checked one by one
need_choice RESTART no yes changed
need_choice LABELS no yes
need_choice FIRMWARE no yes
need_choice KD_ENSEMBLE probabilities logits
need_number 'x > 0 && x < 1' 'lie between 0 and 1, for example 0.9' UNLABELLED_FRACTION
need_number 'x > 0' 'be a number above 0' HEAD_RATE
[[ ! $KD_ALPHA || $KD_ALPHA == \[* ]] || need_number 'x <= 1' 'lie between 0 and 1' KD_ALPHA # [...]: a schedule
[[ ! $KD_TEMPERATURE || $KD_TEMPERATURE == \[* ]] || need_number 'x > 0' 'be a number above 0' KD_TEMPERATURE
need_files TEACHER_CONFIG CLASSES PRETRAINED WEIGHTS
case $mode in
    train | baseline | convert) once_for_each STUDENT SEED ;;
    firmware) once_for_each STUDENT SEED EBOPS_WEIGHT ;;
    teacher | pretrain | finetune) once_for_each TEACHER_SEED ;;
esac

choose datasets "$DATASET" DATASET
TEACHER=${TEACHER:-$default_teacher} TEACHER_TIER=${TEACHER_TIER:-$default_teacher_tier} TIER=${TIER:-$default_tier}
need_tier "$TIER" "$DATASET"
[[ $TEACHER_CONFIG ]] || need_tier "$TEACHER_TIER" "$DATASET"
student_config=${data_config}_$TIER.yaml teacher_config=${TEACHER_CONFIG:-${data_config}_$TEACHER_TIER.yaml}
if [[ $TRAIN_FILES ]]; then words_of "$TRAIN_FILES" && data_train=("${words[@]}"); fi
choose models "$TEACHER" TEACHER
teacher_network=$network teacher_head=$head
teacher_options=("${options[@]}") teacher_training=("${training[@]}") teacher_cuda=("${cuda[@]}")
for student in $STUDENT; do choose models "$student" STUDENT; done
validation=student.yaml unlabelled=()
if [[ $LABELS == no ]]; then # the best epoch is then the one in which the student agrees best with the teacher
    [[ ! $UNLABELLED ]] || fail "LABELS is no: the training files already have no labels, leave out UNLABELLED"
    validation=paired.yaml unlabelled=(--unlabelled) kd_alpha=1.0
fi
words_of "$UNLABELLED" && data_unlabelled=("${words[@]}")
if [[ $UNLABELLED ]]; then kd_alpha=1.0 kd_temperature=1.0; fi # best in docs/measurements/unlabelled.md
if [[ $BLEND ]]; then kd_temperature=1.0; fi                   # only at temperature 1 a blend equals the weighted sum of the losses
CACHE=${CACHE%/}
words_of "${BLEND//\/=/=}" && blend=("${words[@]}") # FOLDER=WEIGHT
if [[ $BLEND && $mode =~ ^(cache|train|firmware)$ ]]; then
    [[ $CACHE && $CACHE != none ]] || fail "BLEND needs its own CACHE: name its folder"
    for name in TEACHER_WEIGHTS CLASSES; do
        [[ ! ${!name} ]] || fail "BLEND already names the caches of its teachers: leave out $name"
    done
    [[ $KD_ENSEMBLE == probabilities ]] || fail "KD_ENSEMBLE is $KD_ENSEMBLE: a blend averages probabilities"
    [[ $LABELS == yes ]] || fail "LABELS is no: a blend cannot replace the labels of the validation jets, give one teacher"
fi

teacher_name() { echo "${DATASET}_${TEACHER}_${TEACHER_TIER}_seed$1$COMMENT"; } # teacher_name SEED
student_name() { echo "${RUN:-${DATASET}_${1}_${TIER}_${2}_seed$3$COMMENT}"; }  # student_name STUDENT kd|baseline SEED
best() { echo "training/$1/net_best_epoch_state.pt"; }                          # best RUN
teacher_run=${RUN:-$(teacher_name "${TEACHER_SEED%% *}")}
student_run=$(student_name "$STUDENT" kd "$SEED")
latency_run=${DATASET}_latency_${TEACHER}_${TEACHER_TIER}_${STUDENT// /_}_$TIER$COMMENT
CACHE=${CACHE:-cache/$(teacher_name "${TEACHER_SEED// /+}")_$TIER}
words_of "$TEACHER_WEIGHTS" && teachers=("${words[@]}") # their checkpoints
if [[ ! $TEACHER_WEIGHTS ]]; then for seed in $TEACHER_SEED; do teachers+=("$(best "$(teacher_name "$seed")")"); done; fi

case $mode in
    test | convert | latency) prepare data_test ;;
    firmware) prepare data_train data_val data_test ;;
    report | demo) prepare ;;
    *) prepare data_train data_val ;;
esac
teacher_model=("$(quoted "$teacher_network")" "${teacher_options[@]}") student_model=("$(quoted "$network")" "${options[@]}")
paired=paired.yaml cached='' without_labels=()
taught=(-o teacher "$(quoted "$teacher_network")" -o teacher_options "$(as_dict "${teacher_options[@]}")"
    -o teacher_weights "$(quoted "${teachers[@]}")" -o kd_ensemble "'$KD_ENSEMBLE'")
if [[ $BLEND ]]; then paired=student.yaml taught=(); fi
if [[ $BLEND || -f $CACHE/cached.yaml ]]; then cached=yes taught+=(-o kd_cache "$(quoted "$CACHE")"); fi
if [[ $UNLABELLED ]]; then
    without_labels=(-o kd_unlabelled "$(quoted "${data_unlabelled[@]}")" -o kd_unlabelled_fraction "$UNLABELLED_FRACTION")
    if [[ $cached ]]; then
        without_labels+=(-o kd_unlabelled_cache "$(quoted "${CACHE}_unlabelled")")
    else
        without_labels+=(-o kd_unlabelled_config "$(quoted "training/$student_run/unlabelled/paired.yaml")")
    fi
fi
from_pretrained=(${PRETRAINED:+-o pretrained "$(quoted "$PRETRAINED")"})
weaver_teacher=("${weaver[@]}" "${sample[@]}" "${teacher_training[@]}" "${teacher_cuda[@]}" "${seeded[@]}" "$TEACHER_SEED")
weaver_student=("${weaver[@]}" "${sample[@]}" "${training[@]}" "${cuda[@]}" "${seeded[@]}" "$SEED")

predictions() { # predictions STUDENT kd|baseline: prediction files of all seeds, separated by commas
    for seed in $SEED; do echo "training/$(student_name "$1" "$2" "$seed")/pred.root"; done | paste -sd ,
}

reuse() { # reuse RUN CHECKPOINT [arguments...]: checks a checkpoint before a command reads it; sets `net_options`, `others`
    need_whole "$2"
    into "$1"
    split_options "${@:3}"
}

own_data() { # own_data CONFIG: writes student.yaml, the data config of a run that trains on labels, with sampling weights
    need_pretrained
    check "$1"
    run "${kd[@]}" pair --student "$1" --weights "${WEIGHTS:-$teacher_config}" -o "training/$name"
}

paired_data() { # paired_data FOLDER: writes student.yaml, and paired.yaml with the teacher's inputs; also in unlabelled/
    need_pretrained
    if [[ $BLEND ]]; then
        check "$student_config"
        run "${kd[@]}" pair --student "$student_config" --weights "${WEIGHTS:-$teacher_config}" -o "$1"
        return
    fi
    for weights in "${teachers[@]}"; do
        [[ $dry_run || -f $weights ]] ||
            fail "there is no teacher checkpoint $weights: train one (./train_kd.sh teacher) or name one (TEACHER_WEIGHTS=...)"
        need_whole "$weights"
    done
    pair_with_teacher "${unlabelled[@]}" -o "$1"
    if [[ $UNLABELLED ]]; then pair_with_teacher --unlabelled -o "$1/unlabelled"; fi
    check "$1/paired.yaml" # this is the config that weaver reads; with LABELS=no it has no labels
}

pair_with_teacher() { # pair_with_teacher [arguments...]
    run "${kd[@]}" pair --student "$student_config" --teacher "$teacher_config" --weights "${WEIGHTS:-$teacher_config}" \
        ${CLASSES:+--classes "$CLASSES"} "$@"
}

soft_targets() { # soft_targets [arguments...]: computes the teachers' soft targets into CACHE, from the paired configs there
    local cache=("${kd[@]}" cache --ensemble "$KD_ENSEMBLE") with=() with_unlabelled=()
    if [[ $BLEND ]]; then
        with=(--blend "${blend[@]}") with_unlabelled=(--blend "${blend[@]//=/_unlabelled=}")
    else
        for weights in "${teachers[@]}"; do cache+=(--network "$teacher_network" --weights "$weights" "${teacher_options[@]}"); done
        with=(--paired "$CACHE/paired.yaml" "${data_train[@]}") with_unlabelled=(--paired "$CACHE/unlabelled/paired.yaml" "${data_unlabelled[@]}")
    fi
    run "${cache[@]}" "$@" --output "$CACHE" "${with[@]}"
    if [[ $UNLABELLED ]]; then run "${cache[@]}" "$@" --output "${CACHE}_unlabelled" "${with_unlabelled[@]}"; fi
}
