# Sourced by the scripts here and by .ci/run, never run. It goes to the repository's root, and gives them:
#   step NAME MINUTES CMD...   run CMD quietly; its output goes to $logs/NAME.log and is shown only when it fails
#   packages NAME...           Debian packages, installed only when one is missing
#   nightly COMPONENT...       rustup's nightly with these components, installed only when missing
#   passed NAME LOG [SKIPPED]  the sum of libtest's closing lines in LOG; fails when no test ran or one failed
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit
logs=target/ci
mkdir -p "$logs"

export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
# What the caller's shell sets for its own builds must not decide what a check sees.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTDOCFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR RUSTC RUSTC_WRAPPER

# On failure both ends of a long log are shown: a sanitizer's first report is the one that counts, libtest's list of failures comes last.
# Exit 124 is the timeout's, 137 that of its --kill-after, for a program that blocks the first signal. `timeout` puts the command into
# a process group of its own, which an interrupt from the terminal does not reach: the trap hands it on.
step() {
    local name=$1 minutes=$2 code=0
    shift 2
    timeout --kill-after=10 "${minutes}m" "$@" >"$logs/$name.log" 2>&1 </dev/null &
    # shellcheck disable=SC2064 # $! of now
    trap "kill $! 2>/dev/null; exit 130" INT TERM
    wait $! || code=$?
    trap - INT TERM
    ((code == 0)) && return 0
    echo "FAILED $name (exit $code): $*"
    awk '{ line[NR] = $0 } END { for (i = 1; i <= NR; i++) if (NR <= 400 || i <= 150 || i > NR - 250) print "    " line[i]
        else if (i == 151) print "    [" NR - 400 " lines left out]" }' "$logs/$name.log"
    ((code == 124 || code == 137)) && echo "    (stopped after $minutes minutes)"
    echo "    (whole output: $logs/$name.log)"
    return 1
} >&2

# Root needs no sudo, and a container has none.
as_root() { if ((EUID == 0)); then env "$@"; else sudo env "$@"; fi; }

packages() {
    local name missing=()
    for name in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done
    ((${#missing[@]} == 0)) && return 0
    echo "installing ${missing[*]}"
    export -f as_root
    step apt-update 10 bash -c 'as_root apt-get -q -o DPkg::Lock::Timeout=300 update'
    step apt-install 30 bash -c 'as_root DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install "$@"' - "${missing[@]}"
}

nightly() {
    cargo +nightly --version >/dev/null 2>&1 || step rustup-nightly 15 rustup toolchain install nightly --profile minimal
    local component installed
    installed=$(rustup component list --toolchain nightly --installed)
    for component in "$@"; do
        [[ $installed == *"$component"* ]] || step "rustup-$component" 10 rustup component add --toolchain nightly "$component"
    done
}

# The lines read `test result: ok. 12 passed; 0 failed; 1 ignored; ...`, one for each test program. A run in which no test ran must not
# look like success. libtest counts a test that skipped itself as passed: SKIPPED says how many did.
passed() {
    awk -v name="$1" -v self="${3:-0}" '
        /^test result: / { passed += $4; failed += $6; skipped += $8 }
        END {
            passed -= self
            printf "%s: %d passed, %d failed, %d skipped\n", name, passed, failed, skipped + self
            exit !(passed > 0 && failed == 0)
        }' "$2"
}
