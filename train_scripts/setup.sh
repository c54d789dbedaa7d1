# shellcheck shell=bash
# Sourced by the scripts: puts weaver and this repository on the paths.
#
# The active environment is used if weaver is in it. Otherwise .venv is made, with the tested versions of
# constraints.txt; VENV=dir puts it elsewhere.

kd_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

kd_fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

kd_make_venv() {
    local venv=$1 stamp
    stamp=$(cat "$kd_root/setup.cfg" "$kd_root/constraints.txt" | cksum)
    if [[ ! -f $venv/ready || $(<"$venv/ready") != "$stamp" ]]; then
        echo "weaver is not in the active environment: installing it into $venv (a few minutes) ..." >&2
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || kd_fail "python3 must be 3.10 or newer"
        python3 -m venv "$venv" || kd_fail "cannot make $venv: install python's venv module (apt install python3-venv)"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --prefer-binary \
            --constraint "$kd_root/constraints.txt" --editable "${kd_root}[convert,demo,download,fpga,onnx,openvino,plot,test]" >&2 ||
            kd_fail "installing into $venv failed: see the lines above"
        echo "$stamp" >"$venv/ready.tmp" && mv "$venv/ready.tmp" "$venv/ready"
    fi
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
}

if ! { command -v weaver && python -c 'import weaver'; } >/dev/null 2>&1; then
    kd_make_venv "${VENV:-$kd_root/.venv}"
fi
# threads of torch that wait should sleep: on a machine with other work, spinning ones make it four to seven times slower
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
export PYTHONHASHSEED=0 # weaver walks through sets of file groups: their order is part of the seed
export PYTHONPATH=$kd_root${PYTHONPATH:+:$PYTHONPATH}
