# shellcheck shell=bash
# Sourced by the scripts: no step may hang, and every step that fails says what was waited for.

say() { printf '==> %s\n' "$*" >&2; }

# fail MESSAGE [HINT]
fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
  exit 1
}

# A step runs in the background and is waited for, so that a signal is acted on at once and ends the step too.
step=
end_step() {
  [ -n "$step" ] || return 0
  kill -TERM "$step" 2>/dev/null || true
  wait "$step" 2>/dev/null || true
}
trap 'end_step; exit 130' INT
trap 'end_step; exit 143' TERM

# limited LOG SECONDS WHAT COMMAND...: runs COMMAND and returns its status; after SECONDS it is ended with all it
# started. Its output goes to the file LOG, whose tail is shown on failure, or straight through when LOG is "-".
limited() {
  local log=$1 seconds=$2 what=$3 code=0 started=$SECONDS; shift 3
  # Descriptor 9 is the lock of host.sh: nothing that outlives the script may inherit it.
  if [ "$log" = - ]; then
    timeout --kill-after=15 "$seconds" "$@" <&0 9>&- &
  else
    timeout --kill-after=15 "$seconds" "$@" <&0 >"$log" 2>&1 9>&- &
  fi
  step=$!
  wait "$step" || code=$?
  step=
  [ "$code" != 0 ] || return 0
  if [ $((SECONDS - started)) -ge "$seconds" ]; then
    printf 'error: waited %s s for this, then ended it: %s\n' "$seconds" "$what" >&2
  else
    printf 'error: failed with status %s: %s\n' "$code" "$what" >&2
  fi
  if [ "$log" != - ]; then
    printf 'the log is %s; it ends:\n' "$log" >&2
    tail -n 20 "$log" | sed 's/^/  /' >&2
  fi
  return "$code"
}

# persistent COMMAND...: up to three tries, for whatever fetches from a package registry.
persistent() {
  local try code
  for try in 1 2 3; do
    code=0
    "$@" || code=$?
    [ "$code" != 0 ] || return 0
    [ "$try" = 3 ] || { say "trying again: $((try + 1)) of 3"; sleep $((try * 5)); }
  done
  return "$code"
}
