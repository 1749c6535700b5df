#!/usr/bin/env bash
# fuzz.sh TARGET [SECONDS]: runs one fuzz target, 60 seconds if not told, on what fuzz/corpus has and what earlier runs found.
# fuzz.sh --shrink TARGET: takes over from earlier runs what covers code that the committed corpus does not.
#
# Neither cargo-fuzz nor a nightly compiler is needed: coverage is an option of the pinned stable one, and the code has no
# `unsafe` that a sanitizer would watch. `cargo +nightly fuzz run TARGET` works too, for whoever wants AddressSanitizer.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
targets="$(cd "$here/fuzz/fuzz_targets" && printf '%s ' *.rs | sed 's/\.rs//g')"
# Inputs longer than this find nothing that shorter ones do not.
longest=16384

usage() {
  echo "usage: fuzz.sh TARGET [SECONDS] | fuzz.sh --shrink TARGET; targets: $targets" >&2
  exit 2
}

shrink=
if [[ "${1:-}" == --shrink ]]; then shrink=1; shift; fi
target="${1:-}"
seconds="${2:-60}"
[[ -f "$here/fuzz/fuzz_targets/$target.rs" ]] || usage
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$here/target}/fuzz"
triple="$(rustc -vV | sed -n 's/^host: //p')"
# What libFuzzer needs to see which branches an input takes. The flags hold for this triple alone: build scripts and
# macros, which are the machine's, are built without.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
(cd "$here/fuzz" && cargo build --locked --release --target "$triple" --bin "$target")

committed="$here/fuzz/corpus/$target"
found="$CARGO_TARGET_DIR/corpus/$target"
crashes="$CARGO_TARGET_DIR/artifacts/$target/"
mkdir -p "$found" "$crashes"
run() { "$CARGO_TARGET_DIR/$triple/release/$target" -artifact_prefix="$crashes" "$@"; }
if [[ -n "$shrink" ]]; then
  run -merge=1 -max_len=2048 "$committed" "$found"
else
  run -max_len="$longest" -timeout=10 -rss_limit_mb=1024 -max_total_time="$seconds" -print_final_stats=1 \
    -dict="$here/fuzz/words.dict" "$found" "$committed"
fi
