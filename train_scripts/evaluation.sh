# shellcheck shell=bash disable=SC2034,SC2153,SC2154
# Sourced by train_kd.sh with the arguments for weaver: the modes that use trained models.

predict() { # predict LABEL RUN CONFIG WEIGHTS NETWORK [arguments...]: predicts the test files if the run is trained
    if [[ ! $dry_run && ! -f $4 ]]; then
        [[ ! $PREDICT ]] || fail "there is no checkpoint $4: train it first"
        echo "train_kd.sh: skipped, because there is no checkpoint $4" >&2 && return
    fi
    predicted=yes
    reuse "$2" "$4" "${@:6}"
    run weaver --predict --data-test "${data_test[@]}" --data-config "$3" --num-workers 1 "${training[@]}" "${device[@]}" \
        --network-config networks/supervised.py -o network "$(quoted "$5")" "${net_options[@]}" --model-prefix "$4" \
        --predict-output "$PWD/training/$2/pred.root" --log-file "logs/$2/test.log" "${others[@]}"
    run "${kd[@]}" complexity --name "$1" --network "$5" --data-config "$3" "${net_options[@]}" --output "training/$2/pred.model.json"
}

export_onnx() { # export_onnx RUN CONFIG WEIGHTS NETWORK [arguments...]
    reuse "$1" "$3" "${@:5}"
    run weaver --data-config "$2" --network-config "$4" "${net_options[@]}" --model-prefix "$3" \
        --export-onnx "training/$1/model.onnx" --log-file "logs/$1/convert.log" "${others[@]}"
    run "${kd[@]}" deploy "training/$1" "${data_test[@]}" --network "$4" "${net_options[@]}" --weights "$3" --data-config "$2" \
        "${deploy_options[@]}"
}

case $mode in
    test) # arguments -o are options of the students
        run "${kd[@]}" check --data-config "$student_config" --data-config "$teacher_config" "${allowed[@]}" "${data_test[@]}"
        split_options "$@"
        kinds=" ${PREDICT:-teacher kd baseline} " predicted=''
        [[ $kinds != *' teacher '* ]] || predict "teacher ($TEACHER, $TEACHER_TIER)" "$teacher_run" "$teacher_config" "${teachers[0]}" \
            "$teacher_network" "${teacher_options[@]}" "${others[@]}"
        for student in $STUDENT; do
            choose models "$student" STUDENT
            for seed in $SEED; do
                for kind in ${kinds/ teacher / }; do
                    name=$(student_name "$student" "$kind" "$seed")
                    predict "$student $kind" "$name" "$student_config" "$(best "$name")" "$network" "${options[@]}" "$@"
                done
            done
        done
        [[ $predicted ]] || fail "there is nothing to test: train a teacher and a student first"
        ;;
    report)
        taggers=() pairs=() more=()
        if [[ -f training/$teacher_run/pred.root ]]; then taggers=("teacher=training/$teacher_run/pred.root") more=(--ceiling teacher); fi
        for student in $STUDENT; do
            taggers+=("$student distilled=$(predictions "$student" kd)" "$student baseline=$(predictions "$student" baseline)")
            pairs+=("$student distilled=$student baseline")
            for kind in kd baseline; do
                for made in "training/$(student_name "$student" "$kind" "${SEED%% *}")"_firmware_*/firmware.json; do
                    weight=$(sed 's/.*_firmware_//; s/\/.*//' <<<"$made")
                    if [[ -f $made ]]; then more+=(--firmware "$student $kind, EBOPs weight $weight=$made"); fi
                done
            done
        done
        if [[ -f training/$latency_run/latency.json ]]; then more+=(--latency "training/$latency_run/latency.json"); fi
        run "${kd[@]}" report "${taggers[@]}" "${more[@]}" --compare "${pairs[@]}" --data-config "$student_config" \
            -o "training/${RUN:-${DATASET}_report$COMMENT}" "${report_options[@]}" "$@"
        ;;
    convert)
        export_onnx "$student_run" "training/$student_run/student.yaml" "$(best "$student_run")" "$network" "${options[@]}" "$@"
        ;;
    firmware) # -o trained None starts from random weights; KD_ALPHA=0 from the baseline, on labels alone
        [[ $dry_run ]] || kd_need fpga onnx
        kind=kd training_mode=train
        if [[ $KD_ALPHA =~ ^0(\.0*)?$ ]]; then kind=baseline training_mode=baseline; fi
        plain_run=$(student_name "$STUDENT" "$kind" "$SEED")
        fixed=${plain_run}_firmware_$EBOPS_WEIGHT
        split_options "$@"
        plain=(-o plain "$(quoted "$network")" "${options[@]}")
        trained=(-o trained "$(quoted "$(best "$plain_run")")")
        if [[ "${net_options[*]} $*" == *'-o trained '* ]]; then trained=(); else need_whole "$(best "$plain_run")"; fi
        RUN=$fixed PRETRAINED='' again "$training_mode" -o student "'networks/firmware.py'" "${plain[@]}" "${trained[@]}" \
            -o ebops_weight "$EBOPS_WEIGHT" --optimizer-option lr_mult "('.*quantizer._[fi]$', 10)" "$@" # a larger rate for the bit widths
        export_onnx "$fixed" "training/$fixed/student.yaml" "$(best "$fixed")" networks/firmware.py "${plain[@]}" "$@"
        twin=()
        if [[ $dry_run || -f $(best "$plain_run") ]]; then
            need_whole "$(best "$plain_run")"
            twin=(--twin "$(best "$plain_run")")
        fi
        if [[ $FIRMWARE == yes ]]; then run "${kd[@]}" firmware "training/$fixed" "${data_test[@]}" "${twin[@]}"; fi
        ;;
    latency) # uses the first seed
        exported=()
        for student in $STUDENT; do
            STUDENT=$student SEED=${SEED%% *} again convert
            exported+=("$student distilled=training/$(student_name "$student" kd "${SEED%% *}")/model.onnx")
        done
        if [[ $dry_run || -f ${teachers[0]} ]]; then
            deploy_options=(--jets 50 --static 0) # the teacher is slow, and not meant for triggers
            export_onnx "$teacher_run" "$teacher_config" "${teachers[0]}" "$teacher_network" "${teacher_options[@]}"
            exported=("teacher=training/$teacher_run/model.onnx" "${exported[@]}")
        fi
        run "${kd[@]}" bench latency "${exported[@]}" --files "${data_test[@]}" -o "training/$latency_run" "$@"
        ;;
esac
