# shellcheck shell=bash
# Sourced by the scripts: puts weaver and kd_trainer on the paths.
#
# The active environment is used if weaver is installed in it. Otherwise the script creates .venv with the tested versions
# of constraints.txt. VENV=dir creates it elsewhere; kd_more=a,b adds extras of setup.cfg.

kd_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kd_extras=convert,demo,download,onnx,plot,workflow${kd_more:+,$kd_more}

kd_fail() {
    echo "${0##*/}: $*" >&2
    if [[ $- == *i* ]]; then kill -INT $$; fi # after `source` at a prompt, exit would close the terminal
    exit 1
}

kd_need() { python -m kd_trainer.requirements "$@" || exit 1; } # kd_need EXTRA...: fails and names the missing packages

kd_suits() { # kd_suits PYTHON NEWEST MODULE...: whether it runs, is version 3.11 to 3.NEWEST and has the modules
    "$1" -c 'import importlib, sys
for name in sys.argv[2:]: importlib.import_module(name)
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, int(sys.argv[1])))' "${@:2}" 2>/dev/null
}

kd_python() { # prints the first suitable interpreter
    local name newest bare=''
    for name in python3 python3.13 python3.12 python3.11 python3.14; do # 3.14 last: Pythia has no wheel for it
        newest=13
        if [[ $name == python3.14 ]]; then newest=14; fi
        if kd_suits "$name" "$newest" ensurepip venv; then echo "$name"; return; fi
        if kd_suits "$name" "$newest"; then bare=${bare:-$name}; fi
    done
    [[ ! $bare ]] || kd_fail "$bare has no venv module: install it (apt install $bare-venv)"
    kd_fail "there is no Python 3.11 to 3.14 on PATH: install one (apt install python3.13-venv, or pyenv, conda, uv)"
}

kd_make_venv() { # kd_make_venv DIR: creates it or adds missing packages; a second process waits for the first
    local venv=$1 python lock stamp
    stamp=$(cat "$kd_root/setup.cfg" "$kd_root/constraints.txt" | cksum)
    mkdir -p "$venv"
    exec {lock}<"$venv"
    flock "$lock"
    if ! grep -qsFx "$stamp" "$venv/ready-$kd_extras"*; then # an environment with more extras is good too
        echo "weaver is not in the active environment: installing it into $venv (a few minutes) ..." >&2
        if ! kd_suits "$venv/bin/python" 14 pip; then
            python=$(kd_python) || exit 1
            "$python" -m venv --clear "$venv" || kd_fail "cannot make $venv: see the lines above"
        fi
        # modules are compiled at first import: compiling all of them in pip takes half a minute
        "$venv/bin/pip" install --quiet --disable-pip-version-check --prefer-binary --no-compile \
            --constraint "$kd_root/constraints.txt" --editable "${kd_root}[$kd_extras]" >&2 ||
            kd_fail "installing into $venv failed: see the lines above"
        echo "$stamp" >"$venv/ready.tmp" && mv "$venv/ready.tmp" "$venv/ready-$kd_extras"
    fi
    exec {lock}<&-
    unset PYTHONDONTWRITEBYTECODE
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
}

if ! { command -v weaver && python -c 'import weaver'; } >/dev/null 2>&1; then
    [[ -f $kd_root/setup.cfg ]] || kd_fail "weaver is not in the active environment: activate the environment that has weaver-kd"
    kd_make_venv "${VENV:-$kd_root/.venv}"
fi
# waiting threads of torch sleep instead of spinning: on a busy machine, spinning threads make it four to seven times slower
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
# Snakemake loads all installed executors, and the HTCondor executor warns on machines without HTCondor
export PYTHONWARNINGS=${PYTHONWARNINGS:+$PYTHONWARNINGS,}ignore::UserWarning:htcondor2
if [[ -d $kd_root/kd_trainer ]]; then # a clone; a folder made by `weaver-kd init` uses the installed package
    export PYTHONPATH=$kd_root${PYTHONPATH:+:$PYTHONPATH}
fi
