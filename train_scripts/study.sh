#!/usr/bin/env bash
# The shipped studies: jets, trainings, report.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: train_scripts/study.sh MODE STUDY [arguments...]

modes
  simulate  make the jets of a shipped study (jetclass: 12,000 for training; top and public: 10,000)
  run       train what is not trained yet: teachers, soft targets, students; stopped runs go on
  list      say what is done and what is not
  report    results.json, results.md and figures of what is done
  document  store the results in docs/results/ and write the tables of docs/results.md anew

STUDY is jetclass, top or public (train_scripts/studies/*.yaml), or a file. Further arguments go to
`python -m kd_trainer study` (or simulate): --jobs 4, --rank 0 --world-size 3, --redo-stale.

settings (environment)
  DATADIR  where the jets are (default datasets/study_<STUDY>)
  OUTPUT   folder of the study (default training/study_<STUDY>)
  PUBLIC_TEACHER, PUBLIC_JETS  for the study public: ParticleNet_kin.pt, and jets of the top-tagging benchmark in parquet
  JOBS     trainings at a time, one thread each (default: the cores)
  VENV     where to install weaver if the active environment has none (default .venv)
EOF
}

mode=${1:-} study=${2:-}
case $mode in
    -h | --help) usage; exit 0 ;;
    simulate | run | list | report | document) ;;
    '') usage >&2; exit 2 ;;
    *) echo "study.sh: unknown mode '$mode': see train_scripts/study.sh --help" >&2; exit 2 ;;
esac
shift

here=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=train_scripts/common.sh
source train_scripts/common.sh
[[ $study ]] || fail "name a study: jetclass, top, public or a file"
shift
DATADIR=$(absolute "${DATADIR:-}")
OUTPUT=$(absolute "${OUTPUT:-}")
for setting in PUBLIC_TEACHER PUBLIC_JETS; do
    if [[ -n ${!setting:-} ]]; then export "$setting=$(absolute "${!setting}")"; fi
done
file=$(absolute "$study")
if [[ $study != *.yaml ]]; then
    file=train_scripts/studies/$study.yaml
    [[ -f $file ]] || fail "unknown study '$study': there are $(basename -s .yaml train_scripts/studies/*.yaml | paste -sd ' '), or name a file"
fi
[[ -f $file ]] || fail "there is no study $file"
name=$(basename -s .yaml "$file")
export DATADIR=${DATADIR:-datasets/study_$name}
OUTPUT=${OUTPUT:-training/study_$name}
[[ $mode != document || -f $OUTPUT/results.json ]] ||
    fail "there is no $OUTPUT/results.json: train_scripts/study.sh report $study first"

# shellcheck source=train_scripts/setup.sh
source train_scripts/setup.sh
# glibc would give the memory of every large tensor back to the system and fetch it anew: a sixth of the time
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456

simulate() {
    local make=(python -m kd_trainer simulate)
    case $name in
        jetclass)
            "${make[@]}" jetclass -o "$DATADIR/train" --jets 300 --files 4 --seed 1 "$@"
            "${make[@]}" jetclass -o "$DATADIR/val" --jets 171 --seed 2 "$@"
            "${make[@]}" jetclass -o "$DATADIR/test" --jets 400 --jets-of QCD=4800 --seed 3 "$@"
            ;;
        top | public)
            "${make[@]}" top -o "$DATADIR/train" --jets 3000 --seed 11 "$@"
            "${make[@]}" top -o "$DATADIR/train" --jets 1000 --start-file 1 --files 2 --seed 11 "$@"
            "${make[@]}" top -o "$DATADIR/val" --jets 500 --seed 12 "$@"
            if [[ $name == public ]]; then return; fi
            "${make[@]}" top -o "$DATADIR/test" --classes top --jets 2000 --seed 13 "$@"
            "${make[@]}" top -o "$DATADIR/test" --classes QCD --jets 8000 --start-file 1 --seed 13 "$@"
            ;;
        *) fail "the jets of $file are its own: simulate makes those of the shipped studies" ;;
    esac
}

study() { exec python -m kd_trainer study "$file" -o "$OUTPUT" "$@"; }

case $mode in
    simulate) simulate "$@" ;;
    run) study ${JOBS:+--jobs "$JOBS"} "$@" ;;
    document)
        grep -qF "<!-- begin $name -->" docs/results.md ||
            fail "docs/results.md has no place for $name: write '<!-- begin $name -->' and '<!-- end $name -->' into it"
        mkdir -p docs/results
        cp "$OUTPUT/results.json" "docs/results/$name.json"
        python -m kd_trainer study docs/results/*.json -o docs/results.md --document
        ;;
    *) study "--$mode" "$@" ;;
esac
