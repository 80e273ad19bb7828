"""Turns a host's description into a folder tree: the files a visit reads and the programs it calls."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleet.lab.answers import (
    fill_bytes,
    fill_instants,
    render_check,
    render_config,
    render_expiry,
    render_show_json,
    render_show_text,
    render_unit,
)
from fleet.lab.describe import LOG_PATHS, UNITS, HostDescription, UnitState

_PLAIN = re.compile(r"[A-Za-z0-9_./-]+\Z")
_DEBIAN = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
ID=debian
"""

# What follows is each host's PATH; {answers} is the folder with its texts.
_AZCMAGENT = """\
#!/bin/sh
command=$1 json=no
for word in "$@"; do
  case $word in -j|--json) json={json_word} ;; esac
done
case $command in
  show) [ "$json" = old ] && {{ echo 'Error: unknown shorthand flag: -j' >&2; exit 1; }}
    if [ "$json" = yes ]; then cat {answers}/show.json; else cat {answers}/show.txt; fi ;;
  version|--version) cat {answers}/version.txt ;;
  config) cat {answers}/config.txt ;;
  check) cat {answers}/check.txt; exit {check_code} ;;
  *) echo "Error: unknown command \\"$command\\" for \\"azcmagent\\"" >&2; exit 1 ;;
esac
"""
# Stands in for the machine's own, so that a certificate needs no key and no signature.
_OPENSSL = "#!/bin/sh\ncat {answers}/expiry.txt\n"
_CERTIFICATES = "var/opt/azcmagent/certs"
_ABSENT = '#!/bin/sh\necho "sh: azcmagent: not found" >&2\nexit 127\n'
_SYSTEMCTL = """\
#!/bin/sh
verb= wanted= quiet= units= next=
for word in "$@"; do
  if [ -n "$next" ]; then wanted=$wanted,$word next=; continue; fi
  case $word in
    -p) next=property ;;
    --property=*) wanted=$wanted,${{word#--property=}} ;;
    -q|--quiet) quiet=yes ;;
    -*) ;;
    *) if [ -z "$verb" ]; then verb=$word; else units="$units ${{word%.service}}"; fi ;;
  esac
done
code=0 between=
for unit in $units; do
  file={answers}/unit.$unit
  [ -f "$file" ] || file={answers}/unit.unknown
  case $verb in
    show)
      [ -z "$between" ] || echo
      between=yes
      while read -r line; do
        [ "$line" = Id=unknown.service ] && line=Id=$unit.service
        case $wanted, in
          ,|*,"${{line%%=*}}",*) printf '%s\\n' "$line" ;;
        esac
      done <"$file" ;;
    is-active)
      state=$(sed -n 's/^ActiveState=//p' "$file")
      [ -n "$quiet" ] || echo "$state"
      [ "$state" = active ] || code=3 ;;
    *) echo "Unknown command verb $verb." >&2; exit 1 ;;
  esac
done
exit $code
"""
_JOURNALCTL = """\
#!/bin/sh
unit= count=all
while [ $# -gt 0 ]; do
  case $1 in
    -u|--unit) unit=$2; shift ;;
    --unit=*) unit=${{1#--unit=}} ;;
    -n|--lines) count=$2; shift ;;
    -o|--output) shift ;;
  esac
  shift
done
file={answers}/journal.${{unit%.service}}
if [ ! -f "$file" ]; then echo '-- No entries --'
elif [ "$count" = all ]; then cat "$file"
else tail -n "$count" "$file"; fi
"""
_SUDO = """\
#!/bin/sh
prompt='[sudo] password for ops: ' ask=tty expected={password}
while [ $# -gt 0 ]; do
  case $1 in
    -n) ask=never ;;
    -S) ask=stdin ;;
    -p) prompt=$2; shift ;;
    --) shift; break ;;
    -*) echo "sudo: invalid option -- '$1'" >&2; exit 1 ;;
    *) break ;;
  esac
  shift
done
if [ {refused} = yes ]; then
  echo 'Sorry, user ops may not run sudo on this host.' >&2
  exit 1
fi
if [ -n "$expected" ]; then
  if [ $ask != stdin ]; then echo 'sudo: a password is required' >&2; exit 1; fi
  tries=0
  while :; do
    printf '%s' "$prompt" >&2
    if ! IFS= read -r given; then
      if [ $tries = 0 ]; then echo 'sudo: no password was provided' >&2
      else echo "sudo: $tries incorrect password attempt" >&2; fi
      exit 1
    fi
    echo attempt >>{answers}/sudo.attempts
    [ "$given" = "$expected" ] && break
    tries=$((tries + 1))
    if [ $tries = 3 ]; then echo 'sudo: 3 incorrect password attempts' >&2; exit 1; fi
    echo 'Sorry, try again.' >&2
  done
fi
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTree:
    """One host's folders: ``root`` stands for its ``/``, ``programs`` comes first in its PATH."""

    root: Path
    programs: Path
    answers: Path

    @property
    def sudo_attempts(self) -> int:
        """How many passwords its sudo has read."""
        path = self.answers / "sudo.attempts"
        return len(path.read_text().splitlines()) if path.exists() else 0


def build_tree(host: HostDescription, folder: Path, now: datetime) -> HostTree:
    """Write the host's files below ``folder``, which is made.

    Raises:
        ValueError: the folder's path is not a plain word, so it cannot stand in a visit's command line.
    """
    if not _PLAIN.match(str(folder)):
        raise ValueError(f"{folder}: a lab's folder has only letters, digits and ._/- in its path")
    tree = HostTree(root=folder, programs=folder / "lab-programs", answers=folder / "lab-answers")
    for path in (tree.programs, tree.answers):
        path.mkdir(parents=True)
    _write_files(host, tree, now)
    _write_answers(host, tree, now)
    _write_programs(host, tree)
    return tree


def _write_files(host: HostDescription, tree: HostTree, now: datetime) -> None:
    _write(tree, "/etc/os-release", host.os_release or _DEBIAN)
    _write(tree, "/proc/uptime", "93021.14 180233.72\n")
    for name, content in host.logs:
        _write_log(tree, LOG_PATHS[name], fill_bytes(content, now), dict(host.repeat).get(name, 1))
    for name, text in host.extensions:
        _write(tree, f"/var/lib/GuestConfig/extension_logs/{name}/state.json", fill_instants(text, now))
    if not host.agent.is_absent:
        (tree.root / _CERTIFICATES).mkdir(parents=True)
        (tree.root / "var/lib/GuestConfig/extension_logs").mkdir(parents=True, exist_ok=True)

    if host.agent.certificate_days is not None:
        _write(tree, f"{_CERTIFICATES}/myCert", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")


def _write(tree: HostTree, path: str, text: str) -> None:
    _write_log(tree, path, text.encode(), 1)


def _write_log(tree: HostTree, path: str, content: bytes, times: int) -> None:
    target = tree.root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        for _ in range(times):
            stream.write(content)


def _write_answers(host: HostDescription, tree: HostTree, now: datetime) -> None:
    texts = {
        "show.txt": render_show_text(host, now),
        "show.json": render_show_json(host, now),
        "version.txt": f"azcmagent version  {host.agent.version}\n",
        "config.txt": render_config(host),
        "check.txt": render_check(host, now),
        "garbage": host.agent.garbage,
    }
    texts |= {f"unit.{unit}": render_unit(host, unit, now) for unit in (*UNITS, "unknown")}
    if host.agent.certificate_days is not None:
        texts["expiry.txt"] = render_expiry(host.agent.certificate_days, now)
    texts |= {f"journal.{unit}": fill_instants(text, now) for unit, text in host.journal}
    for name, text in texts.items():
        (tree.answers / name).write_text(text, encoding="utf-8")


def _write_programs(host: HostDescription, tree: HostTree) -> None:
    answers = str(tree.answers)
    texts = {
        "azcmagent": _agent_program(host, answers),
        "systemctl": _SYSTEMCTL.format(answers=answers),
        "journalctl": _JOURNALCTL.format(answers=answers),
        "openssl": _OPENSSL.format(answers=answers),
        "sudo": _SUDO.format(
            answers=answers,
            password=shlex.quote(host.login.sudo_password),
            refused="yes" if host.login.is_sudo_refused else "no",
        ),
    }
    for name, text in texts.items():
        path = tree.programs / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o700)


def _agent_program(host: HostDescription, answers: str) -> str:
    agent = host.agent
    if agent.is_absent:
        return _ABSENT
    if agent.hangs:
        return "#!/bin/sh\nexec sleep 3600\n"
    if agent.garbage:
        return f"#!/bin/sh\ncat {answers}/garbage\n"
    if agent.fails:
        return "#!/bin/sh\necho 'panic: runtime error: invalid memory address' >&2\nexit 2\n"
    is_down = bool(agent.unreachable) or host.unit("himdsd") is not UnitState.ACTIVE
    text = _AZCMAGENT.format(
        answers=answers,
        json_word="yes" if agent.has_json else "old",
        check_code=1 if is_down else 0,
    )
    return text.replace("#!/bin/sh\n", f"#!/bin/sh\nsleep {agent.delay_s}\n", 1) if agent.delay_s else text
