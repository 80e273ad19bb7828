{
# fleet: one read-only visit. The same text on every host and run; what varies comes as plain words:
#   MODE NONCE RUN ITEM...      ITEM = name:need:when:seconds:bytes:keep:word@word@...
# It writes no file, installs nothing and leaves nothing running. All of it is one compound command, so that
# a shell has read the whole text before any of it runs.
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/azcmagent/bin
export PATH
set -f
fleet_ifs=$IFS
fleet_mode=$1 fleet_nonce=$2
shift 3
exec 9<&0 </dev/null

fleet_self=user
[ "$(id -u 2>/dev/null)" = 0 ] && fleet_self=root

fleet_bound=
if timeout -k 1 5 true 2>/dev/null; then
  fleet_bound='timeout -k 2'
elif timeout 5 true 2>/dev/null; then
  fleet_bound=timeout
fi

# The session of a process is the fourth word behind its name in /proc/PID/stat (proc(5)).
fleet_signal_session() {
  set +f
  for fleet_pid in /proc/[0-9]*; do
    fleet_stat=
    { read -r fleet_stat <"$fleet_pid/stat"; } 2>/dev/null
    fleet_stat=${fleet_stat##*) }
    fleet_pid=${fleet_pid#/proc/}
    [ "$fleet_pid" = "$2" ] && continue
    case $fleet_stat in
      ?*)
        set -f
        # shellcheck disable=SC2086
        set -- "$1" "$2" "$3" $fleet_stat
        [ "${7:-}" = "$3" ] && kill -s "$1" "$fleet_pid" 2>/dev/null
        set -- "$1" "$2" "$3"
        set +f
        ;;
    esac
  done
}

# Without a terminal nothing tells a command that the connection is gone: watch the real stdin, which the
# other side keeps open to the end, and take the whole session down when it closes.
fleet_watch() {
  while read -r fleet_line; do :; done
  trap '' TERM
  read -r fleet_stat </proc/self/stat || exit
  fleet_me=${fleet_stat%% *}
  fleet_stat=${fleet_stat##*) }
  # shellcheck disable=SC2086
  set -- $fleet_stat
  fleet_signal_session TERM "$fleet_me" "$4"
  sleep 1
  fleet_signal_session KILL "$fleet_me" "$4"
}

fleet_frame() {
  printf '\n%s %s\n' "$fleet_nonce" "$*"
}

fleet_limited() {
  if [ -n "$fleet_bound" ]; then
    # shellcheck disable=SC2086
    $fleet_bound "$fleet_seconds" "$@"
  else
    "$@"
  fi
}

# Whether the status that `azcmagent show` printed, as text or as JSON, is exactly this one.
fleet_connected() {
  # To look for a word first is quick; to cut up to one that is not there takes a shell many seconds.
  case $fleet_kept in
    *"Agent Status"*) fleet_status=${fleet_kept#*Agent Status} ;;
    *\"status\"*) fleet_status=${fleet_kept#*\"status\"} ;;
    *) return 1 ;;
  esac
  fleet_status=${fleet_status%%[,
]*}
  case $fleet_status in
    *": Connected" | *:\"Connected\"* | *": \"Connected\""*) return 0 ;;
  esac
  return 1
}

# One item: its output bounded, then its exit code, then the end of its stderr.
fleet_item() {
  IFS=:
  # shellcheck disable=SC2086
  set -- $1
  IFS=$fleet_ifs
  fleet_name=$1 fleet_need=$2 fleet_when=$3 fleet_seconds=$4 fleet_bytes=$5 fleet_keep=$6
  case $fleet_when in
    failed) [ "$fleet_code" != 0 ] || { fleet_frame "skip $fleet_name not-needed"; return; } ;;
    not-connected) fleet_connected && { fleet_frame "skip $fleet_name connected"; return; } ;;
  esac
  IFS=@
  # shellcheck disable=SC2086
  set -- $7
  IFS=$fleet_ifs
  fleet_count=$# fleet_program=$1
  while [ "$fleet_count" -gt 0 ]; do
    fleet_last=$1
    # Two words stand for what a login shell would eat.
    case $1 in
      =f) set -- "$@" '{}' ;;
      =e) set -- "$@" ';' ;;
      *) set -- "$@" "$1" ;;
    esac
    shift
    fleet_count=$((fleet_count - 1))
  done
  # A program that hung once would hang again; reads of a file depend on the file.
  case $fleet_last in
    /*) fleet_program= ;;
    *)
      case $fleet_hung in
        *" $fleet_program "*) fleet_frame "skip $fleet_name hung"; return ;;
      esac
      ;;
  esac
  fleet_as=$fleet_self
  if [ "$fleet_need$fleet_mode$fleet_self" = rootreadsuser ]; then
    case $fleet_last in
      /*) [ -r "$fleet_last" ] || fleet_as=sudo ;;
      *) fleet_as=sudo ;;
    esac
  fi
  if [ "$fleet_as" = sudo ]; then
    # What runs as root is not ours to end: it brings its own bound, and ours outlasts it.
    set -- sudo -n timeout -k 2 "$fleet_seconds" "$@"
    fleet_seconds=$((fleet_seconds + 4))
  fi
  fleet_frame "begin $fleet_name $fleet_as"
  if [ "$fleet_keep" = all ]; then
    fleet_kept=$({ fleet_limited "$@" 2>&1; printf '\n%s' "$?"; } 4>&- 9<&- | tail -c "$fleet_bytes")
    fleet_code=${fleet_kept##*"
"}
    fleet_kept=${fleet_kept%"
"*}
    printf '%s' "$fleet_kept"
    fleet_frame "end $fleet_name $fleet_code"
    fleet_note_hung
    return
  fi
  fleet_cut=head
  [ "$fleet_keep" = newest ] && fleet_cut=tail
  fleet_errors=$(
    {
      {
        { fleet_limited "$@" 2>&1 >&6 4>&- 6>&- 7>&- 9<&-; printf '\n%s' "$?"; } | tail -c 2048 >&7
      } 6>&1 | "$fleet_cut" -c "$fleet_bytes" >&4
    } 7>&1
  )
  fleet_code=${fleet_errors##*"
"}
  fleet_frame "end $fleet_name $fleet_code"
  printf '%s' "${fleet_errors%"
"*}"
  fleet_note_hung
}

# 124 and 137 are timeout(1) of coreutils and its KILL, 143 is busybox's TERM.
fleet_note_hung() {
  case $fleet_code in
    124 | 137 | 143) [ -z "$fleet_program" ] || fleet_hung="$fleet_hung$fleet_program " ;;
  esac
}

fleet_visit() {
  exec 4>&1
  fleet_code=0 fleet_kept='' fleet_hung=' ' fleet_total=0
  for fleet_word in "$@"; do
    fleet_item "$fleet_word"
    fleet_total=$((fleet_total + 1))
  done
  fleet_frame "done $fleet_total"
}

fleet_watch <&9 9<&- >/dev/null 2>&1 &
fleet_watcher=$!
if printf x 2>/dev/null | gzip -1 >/dev/null 2>&1; then
  printf '\n%s FLEET1 gzip %s\n' "$fleet_nonce" "$(date +%s)"
  fleet_visit "$@" 9<&- 2>/dev/null | gzip -1 9<&-
else
  printf '\n%s FLEET1 plain %s\n' "$fleet_nonce" "$(date +%s)"
  fleet_visit "$@" 9<&- 2>/dev/null
fi
kill "$fleet_watcher" 2>/dev/null
exit 0
}
