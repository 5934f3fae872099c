#!/bin/bash
# engine.sh TREE DATA RUN ARGS...: runs the Docker engine found in the Debian tree TREE, in a mount namespace of its
# own, with DATA as its data directory and RUN for what lives as long as the engine. The socket appears where every
# client looks for it.
set -euo pipefail
# shellcheck disable=SC2016 # expanded by the inner shell
exec unshare --mount --propagation private bash -euc '
  tree=$1 data=$2 run=$3; shift 3
  mount --bind "$tree" "$tree"
  # Clients name paths of this machine in bind mounts, so all that is not part of the system has to be visible here.
  for dir in /*; do
    case $dir in /bin | /boot | /etc | /lib* | /lost+found | /sbin | /usr | /var) continue ;; esac
    [ -d "$dir" ] && [ ! -L "$dir" ] || continue
    mkdir -p "$tree$dir"
    mount --rbind "$dir" "$tree$dir"
  done
  mkdir -p "$tree/var/lib/docker" "$tree/.old"
  mount --bind "$data" "$tree/var/lib/docker"
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  cd "$tree" && pivot_root . .old && umount -l /.old
  mount --make-rshared /
  exec dockerd --pidfile "$run/docker.pid" --exec-root "$run/docker" "$@"' -- "$@"
