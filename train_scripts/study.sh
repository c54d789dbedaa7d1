#!/usr/bin/env bash
# usage: train_scripts/study.sh MODE STUDY [--dry-run] [snakemake arguments...]
#
# STUDY is demo, unlabelled, jetclass, top or public (train_scripts/studies/*.yaml), or a file
#
# modes
#   simulate  simulate the jets of the study
#   run       run all missing steps: jets, teachers, soft targets, students, predictions, report
#   list      print which steps run would execute, and why; executes nothing
#   report    write the report of everything that is trained so far; outdated results are updated first
#   document  store the results in docs/measurements/NAME.json and update the tables of NAME.md there
#
# The same command continues a study that was stopped. A step runs again if its options or its input files have changed;
# all steps that depend on it run again too. --dry-run prints the command of a mode, ready to paste.
# Arguments go to snakemake: study.sh run top --rulegraph, study.sh run top training/study_top/PFN_l1_10k_full_seed1/pred.root
#
# settings (environment)
set -euo pipefail
# shellcheck source=train_scripts/common.sh
source "$(dirname "$(readlink -f "$0")")/common.sh"
mode=${1:-}
study=${2:-}
case $mode in -h | --help | '') start '' "$mode" ;; esac
start "simulate run list report document" "$mode" "${@:3}"
[[ $study ]] || fail "name a study: $(basename -s .yaml train_scripts/studies/*.yaml | paste -sd ' '), or a file"
paths_of_caller DATADIR PUBLIC_TEACHER PUBLIC_JETS

DATADIR=${DATADIR:-}               # folder of the jets (default: datasets/study_<STUDY>)
COMMENT=${COMMENT:-}               # suffix for the names of all files of the study
PUBLIC_TEACHER=${PUBLIC_TEACHER:-} # for the study public: the checkpoint ParticleNet_kin.pt
PUBLIC_JETS=${PUBLIC_JETS:-}       # for the study public: jets of the top-tagging benchmark in parquet
PROFILE=${PROFILE:-local}          # where the steps run: local, slurm, htcondor (train_scripts/profiles), or the folder of a profile
JOBS=${JOBS:-all}                  # number of cores of this machine to use
export VENV=${VENV:-$PWD/.venv}    # where to install weaver if it is not in the active environment
[[ $JOBS == all ]] || need_count JOBS 1

file=train_scripts/studies/$study.yaml
if [[ $study == *.yaml ]]; then file=$(absolute "$study"); fi
[[ -f $file ]] || fail "there is no study $file: name a file, or $(basename -s .yaml train_scripts/studies/*.yaml | paste -sd ' ')"
name=$(basename -s .yaml "$file")
folder=training/study_$name$COMMENT

# shellcheck source=train_scripts/setup.sh
if [[ ! $dry_run ]]; then source train_scripts/setup.sh; fi
steps() { # steps [snakemake arguments...]
    [[ $dry_run ]] || kd_need plot
    workflow "$folder" "$JOBS" "$@" --config "study=$file" "done=$done" ${DATADIR:+"DATADIR=$DATADIR"} ${COMMENT:+"COMMENT=$COMMENT"} \
        ${PUBLIC_TEACHER:+"PUBLIC_TEACHER=$PUBLIC_TEACHER"} ${PUBLIC_JETS:+"PUBLIC_JETS=$PUBLIC_JETS"}
}

set -- "${arguments[@]}"
done='' # yes: report only what is trained
case $mode in
    simulate) steps "$@" jets ;;
    run) steps "$@" ;;
    list) steps --dry-run "$@" ;;
    report) done=yes && steps "$@" ;;
    document)
        [[ $dry_run || -f $folder/results.json ]] || fail "there is no $folder/results.json: run train_scripts/study.sh report $study first"
        page=docs/measurements/$name
        grep -qsF "<!-- begin $name -->" "$page.md" ||
            fail "$page.md has no place for $name: add the lines '<!-- begin $name -->' and '<!-- end $name -->'"
        run cp "$folder/results.json" "$page.json"
        run python -m kd_trainer study "$page.json" -o "$page.md" --document
        ;;
esac
