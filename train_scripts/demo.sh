# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by train_kd.sh: the main job on jets simulated here. JETS sets the training jets of each class.

stage() { echo && echo "== $1 (after $((SECONDS / 60)) min $((SECONDS % 60)) s)"; }

simulate() { # simulate SPLIT SEED [arguments...]
    python -m kd_trainer simulate -o "$DATADIR/$1" --seed "$2" --workers 2 "${@:3}"
}

# epochs of a student; its model file sets the rest
demo_train() { train_one --num-epochs "$(demo_epochs)" "$@"; }
demo_baseline() { baseline_one --num-epochs "$(demo_epochs)" "$@"; }
demo_epochs() { case $STUDENT in dense) echo 60 ;; PFN) echo 15 ;; *) echo 30 ;; esac; }

# of a jet on one thread, in ONNX Runtime
demo_latency() {
    if ! python -c 'import onnx, onnxruntime' 2>/dev/null; then
        echo "no latency: pip install 'weaver-kd[onnx]'"
        return
    fi
    local result=training/$latency_run/latency.json
    if [[ -f $result ]] && nothing_newer "$result" "$(best "${DATASET}_*$COMMENT")"; then return; fi
    latency --engines onnxruntime --precisions fp32 --threads 1 --batches 1 --seconds 2
}

demo() {
    local jets=${JETS:-1000}
    python -c 'import pythia8mc, fastjet, matplotlib, mplhep' 2>/dev/null ||
        fail "the environment has weaver but not all that the demo uses: pip install -e '.[demo,plot]'"
    exec 3>/dev/null # weaver's own output is in the log files
    skip_done=yes
    JOBS=2
    # glibc would give the memory of every large tensor back to the system and fetch it anew: a sixth of the time
    export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
    samples_per_epoch=$((jets * 10))
    samples_per_epoch_val=$((jets * 2))

    stage "1/5 jets: ten classes, simulated with Pythia 8 and FastJet into $DATADIR"
    simulate train 1 --jets "$jets"
    simulate val 2 --jets $((jets / 5))
    # many jets where the working point asks for it: of the background, and of signals at 99 % and 99.5 %
    simulate test 3 --jets $((jets / 3)) --jets-of "QCD=$((jets * 4))" "Hqql=$jets" "Tbl=$jets"
    stage "2/5 teacher: $TEACHER at full resolution"
    teacher --num-epochs 6 "$@"
    stage "3/5 students on $TIER inputs, with the teacher's soft targets"
    cache --overwrite
    for_each_student demo_train "$@"
    stage "4/5 the same students, on labels alone"
    for_each_student demo_baseline "$@"
    stage "5/5 predictions, latency and report"
    predict_all
    demo_latency
    report --title "weaver-kd demo: $TIER students"
    stage "done: training/$report_run/report.md"
}
