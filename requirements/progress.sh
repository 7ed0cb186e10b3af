# Sourced: prints what goes on, and how long it has taken so far, while a silent command runs.

beats=

# with_progress WHAT STATE COMMAND...: WHAT is printed at once, and every 20 s with what the command STATE prints; the
# exit status is COMMAND's.
with_progress() {
  local what="$1" state="$2" status=0 began=$SECONDS
  shift 2
  echo "$what"
  (
    exec 2>/dev/null
    trap 'kill "$sleeping"; exit' TERM
    while sleep 20 & sleeping=$! && wait "$sleeping"; do echo "  $((SECONDS - began)) s so far$($state)"; done
  ) &
  beats=$!
  disown "$beats"
  "$@" || status=$?
  quiet
  [ "$status" != 0 ] || [ $((SECONDS - began)) -lt 5 ] || echo "  took $((SECONDS - began)) s"
  return "$status"
}

# Ends the output of `with_progress`.
quiet() {
  [ -z "$beats" ] || kill "$beats" 2>/dev/null || true
  beats=
}

# Ctrl-C: whatever ran got the signal too.
trap 'quiet; echo "interrupted; the same command goes on from here" >&2; exit 130' INT
trap quiet EXIT
