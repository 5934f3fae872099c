# shellcheck shell=bash
# Sourced by scripts/bench: `tg test cached` after an edit, beside the same steps one after another.

measure_run() {
  local environment run what
  environment=$("$root/scripts/setup") && eval "$environment"
  unset TG_FILE TG_FORCE TG_VERIFY KIND_CLUSTER_NAME
  mkdir "$scratch/times"
  cp -r "$root/examples/service" "$scratch/service"
  cd "$scratch/service"
  rm -rf target
  cluster=tg-bench-$$
  sed -i "s/^name = \"tg-example\"/name = \"$cluster\"/; s/^tag = .*/tag = \"$cluster:test\"/" tasks.toml
  images+=("$cluster:test")
  export TG_STATE_DIR=$scratch/state
  say "everything once"
  "$tg" test cached >"$scratch/output" 2>&1 || fail "no first run: $(tail -5 "$scratch/output")"
  for run in $(seq "$runs"); do
    edit_source "$run.1"
    noted build timed "$tg" build-if-needed -q
    noted load timed "$tg" load-if-needed -q
    noted compile timed cargo test --no-run --test integration_k8s
    noted test timed "$tg" test fast -q
    edit_source "$run.2"
    noted all timed "$tg" test cached -q --timeline "$scratch/run.svg"
  done
  header "after an edit of \`src/main.rs\` in examples/service" "time"
  for what in "build:\`tg build-if-needed\`" "load:\`tg load-if-needed\`" "compile:\`cargo test --no-run\`" \
    "test:the tests (\`tg test fast\`)" "all:\`tg test cached\`, all of it"; do
    row "${what#*:}" "$(cell <"$scratch/times/${what%%:*}")"
  done
  paste "$scratch"/times/{build,load,compile,test,all} | awk '
    { chain = ($1 + $2 > $3 ? $1 + $2 : $3) + $4; print $5 / chain, $5 / ($1 + $2 + $3 + $4) }' | sort -n |
    awk '{ to_chain[NR] = $1; to_sum[NR] = $2 } END { m = int((NR + 1) / 2)
      printf "| of max(build + load, compile) + tests | %.2f |\n| of all one after another | %.2f |\n", to_chain[m], to_sum[m] }'
  cp "$scratch/run.svg" "$root/docs/run.svg"
}

# edit_source TEXT: what the service and its tests are compiled from.
edit_source() { printf '// %s\n' "$1" >>src/main.rs; printf '// %s\n' "$1" >>src/lib.rs; }

# noted WHAT COMMAND...: adds the milliseconds to those of the same name.
noted() {
  local what=$1; shift
  "$@" >>"$scratch/times/$what"
}
