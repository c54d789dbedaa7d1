# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# Sourced by train_kd.sh: checks its settings, and sets what follows from them: data configs, models, names, checkpoints.

need_numbers DDP_NGPUS WEIGHT_BITS JETS SEED TEACHER_SEED
need_choice RESTART no yes changed
need_choice LABELS no yes
need_choice KD_ENSEMBLE probabilities logits
need_fraction UNLABELLED_FRACTION
need_files TEACHER_CONFIG CLASSES PRETRAINED WEIGHTS
need_positive HEAD_RATE
case $mode in
    train | baseline | convert | quantise) once_for_each STUDENT SEED ;;
    teacher | pretrain | finetune) once_for_each TEACHER_SEED ;;
esac

choose datasets "$DATASET" DATASET
TEACHER=${TEACHER:-$default_teacher} TEACHER_TIER=${TEACHER_TIER:-$default_teacher_tier}
need_tier "$TIER" "$DATASET"
need_tier "$TEACHER_TIER" "$DATASET"
student_config=${data_config}_$TIER.yaml teacher_config=${TEACHER_CONFIG:-${data_config}_$TEACHER_TIER.yaml}
if [[ $TRAIN_FILES ]]; then words_of "$TRAIN_FILES" && data_train=("${words[@]}"); fi
choose models "$TEACHER" TEACHER
teacher_network=$network teacher_head=$head
teacher_options=("${options[@]}") teacher_training=("${training[@]}") teacher_cuda=("${cuda[@]}")
for student in $STUDENT; do choose models "$student" STUDENT; done
validation=student.yaml unlabelled=()
if [[ $LABELS == no ]]; then # the best epoch is then the one that agrees best with the teacher
    [[ ! $UNLABELLED ]] || fail "LABELS is no: all training files are without labels, UNLABELLED is for more of them"
    validation=paired.yaml unlabelled=(--unlabelled) kd_alpha=1.0
fi
words_of "$UNLABELLED" && data_unlabelled=("${words[@]}")
if [[ $UNLABELLED ]]; then kd_alpha=1.0 kd_temperature=1.0; fi # what docs/results.md finds best
if [[ $BLEND ]]; then kd_temperature=1.0; fi                   # at which a blend is the weighted sum of the losses
CACHE=${CACHE%/} blend=() blend_unlabelled=()
for member in $BLEND; do # FOLDER=WEIGHT
    folder=${member%=*}
    blend+=("$member") blend_unlabelled+=("${folder%/}_unlabelled=${member##*=}")
done
if [[ $BLEND && $mode =~ ^(cache|train|quantise)$ ]]; then
    [[ $CACHE && $CACHE != none ]] || fail "BLEND needs a CACHE of its own: name its folder"
    for name in TEACHER_WEIGHTS CLASSES; do
        [[ ! ${!name} ]] || fail "BLEND names the caches of its teachers: leave out $name"
    done
    [[ $KD_ENSEMBLE == probabilities ]] || fail "KD_ENSEMBLE is $KD_ENSEMBLE: a blend averages probabilities"
    [[ $LABELS == yes ]] || fail "LABELS is no: a blend cannot stand in for the labels of the validation, give one teacher"
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

prepare
teacher_model=("$(quoted "$teacher_network")" "${teacher_options[@]}") student_model=("$(quoted "$network")" "${options[@]}")
from_pretrained=(${PRETRAINED:+-o pretrained "$(quoted "$PRETRAINED")"})
weaver_teacher=("${weaver[@]}" "${sample[@]}" "${teacher_training[@]}" "${teacher_cuda[@]}" "${seeded[@]}" "$TEACHER_SEED")
weaver_student=("${weaver[@]}" "${sample[@]}" "${training[@]}" "${cuda[@]}" "${seeded[@]}" "$SEED")

predictions() { # predictions STUDENT kd|baseline: those of all seeds
    for seed in $SEED; do echo "training/$(student_name "$1" "$2" "$seed")/pred.root"; done | paste -sd ,
}

need_whole() { # need_whole CHECKPOINT: if a training here made it, that has to be complete
    local path=${1#"$PWD/"}
    local made=${path#training/}
    if [[ $made != "$path" ]]; then need_trained "${made%/*}"; fi
}

reuse() { # reuse RUN CHECKPOINT [arguments...]: before a command that reads it; sets `net_options` and `others`
    need_whole "$2"
    into "$1"
    split_options "${@:3}"
}

need_pretrained() { if [[ $PRETRAINED ]]; then need_whole "$PRETRAINED"; fi; }

own_data() { # own_data CONFIG: the data config of the run on labels, with sampling weights: student.yaml
    need_pretrained
    check "$1"
    run "${kd[@]}" pair --student "$1" --weights "${WEIGHTS:-$teacher_config}" -o "training/$name"
}

paired_data() { # paired_data FOLDER: student.yaml, and paired.yaml with the inputs of the teacher; the same in unlabelled/
    need_pretrained
    if [[ $BLEND ]]; then
        check "$student_config"
        run "${kd[@]}" pair --student "$student_config" --weights "${WEIGHTS:-$teacher_config}" -o "$1"
        return
    fi
    for weights in "${teachers[@]}"; do
        [[ $dry_run || -f $weights ]] ||
            fail "there is no teacher at $weights: train one (./train_kd.sh teacher) or name one (TEACHER_WEIGHTS=...)"
        need_whole "$weights"
    done
    pair_with_teacher "${unlabelled[@]}" -o "$1"
    if [[ $UNLABELLED ]]; then pair_with_teacher --unlabelled -o "$1/unlabelled"; fi
    check "$1/paired.yaml" # what is read: no labels of the teacher, with LABELS=no none at all
}

pair_with_teacher() { # pair_with_teacher [arguments...]
    run "${kd[@]}" pair --student "$student_config" --teacher "$teacher_config" --weights "${WEIGHTS:-$teacher_config}" \
        ${CLASSES:+--classes "$CLASSES"} "$@"
}

soft_targets() { # soft_targets FOLDER [arguments...]: make those of the teachers with its paired configs, or look at them
    if [[ $BLEND ]]; then
        run "${kd[@]}" cache --blend "${blend[@]}" --output "$CACHE" "${@:2}" || return
        [[ ! $UNLABELLED ]] || run "${kd[@]}" cache --blend "${blend_unlabelled[@]}" --output "${CACHE}_unlabelled" "${@:2}"
        return
    fi
    local members=()
    for weights in "${teachers[@]}"; do members+=(--network "$teacher_network" --weights "$weights" "${teacher_options[@]}"); done
    local cache=("${kd[@]}" cache "${members[@]}" --ensemble "$KD_ENSEMBLE" "${@:2}")
    run "${cache[@]}" --paired "$1/paired.yaml" --output "$CACHE" "${data_train[@]}" || return
    [[ ! $UNLABELLED ]] || run "${cache[@]}" --paired "$1/unlabelled/paired.yaml" --output "${CACHE}_unlabelled" "${data_unlabelled[@]}"
}

in_cache() { # in_cache CACHE PATTERN...: those of the files there which kd_trainer cache makes of these files
    local pattern name folder group
    for pattern in "${@:2}"; do
        name=${pattern##*/} folder=${pattern%/*} group=''
        if [[ $pattern == *:* ]]; then group=${pattern%%:*}: folder=${pattern%%:*}; fi
        echo "$group$1/${folder##*/}/${name%.*}.parquet"
    done
}

need_in_blend() { # need_in_blend CACHE PATTERN...: all of these files; those of its members may be fewer
    local pattern group path files=() IFS=''
    for pattern in "${@:2}"; do
        group=''
        if [[ $pattern == *:* ]]; then group=${pattern%%:*}:; fi
        for path in ${pattern#"$group"}; do files+=("$group$path"); done
    done
    while read -r path; do
        [[ $dry_run || -f ${path#*:} ]] || fail "the blend has no ${path#*:}: run ./train_kd.sh cache for each member with all of these files, then for the blend"
    done < <(in_cache "$1" "${files[@]}")
}

soft_target_data() { # sets `config` and adds to `taught`: the soft targets of CACHE, if they are there, else the teacher
    local labelled=training/$name/paired.yaml without=training/$name/unlabelled/paired.yaml live=', or CACHE=none'
    local files=("${data_unlabelled[@]}")
    config=$labelled
    if [[ $BLEND ]]; then taught=() live='' labelled=$CACHE/blend.yaml without=${CACHE}_unlabelled/blend.yaml; fi
    if [[ $BLEND || -f $CACHE/cached.yaml ]]; then
        soft_targets "training/$name" --check ||
            fail "the soft targets in $CACHE are not those of this teacher and these files: ./train_kd.sh cache$live"
        if [[ $BLEND ]]; then
            need_in_blend "$CACHE" "${data_train[@]}"
            need_in_blend "${CACHE}_unlabelled" "${data_unlabelled[@]}"
        fi
        mapfile -t files < <(in_cache "$CACHE" "${data_train[@]}")
        config=$CACHE/cached.yaml taught+=(-o kd_cache "$(quoted "$labelled")" --data-train "${files[@]}")
        if [[ $UNLABELLED ]]; then
            mapfile -t files < <(in_cache "${CACHE}_unlabelled" "${data_unlabelled[@]}")
            taught+=(-o kd_unlabelled_cache "$(quoted "$without")")
            without=${CACHE}_unlabelled/cached.yaml
        fi
    fi
    [[ ! $UNLABELLED ]] || taught+=(-o kd_unlabelled "$(quoted "${files[@]}")" -o kd_unlabelled_config "$(quoted "$without")"
        -o kd_unlabelled_fraction "$UNLABELLED_FRACTION")
}
