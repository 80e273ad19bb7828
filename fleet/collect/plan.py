"""Turns a pack's items into the command line and the script of a visit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.collect.powershell import BOOTSTRAP, piped
from fleet.model.host import Host
from fleet.model.pack import Item
from fleet.model.words import OS, Become, CheckMode, Connection

CHECK_ITEM = "agent.check"
KEPT_ITEM = "agent.show"
CODE_BYTES = 4
"""What the script takes away of a text that it has kept with its exit code: a newline and three digits."""

SECURE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/azcmagent/bin"

# Two frame lines, the end of stderr, and the byte that tells a cut section.
_AROUND_BYTES = 4096

# A login shell of any kind takes these for granted words; the two that it would eat have stand-ins.
_STAND_INS = {"{}": "=f", ";": "=e"}


_SCRIPTS = {OS.LINUX: "visit.sh", OS.WINDOWS: "visit.ps1"}


def script(os: OS = OS.LINUX) -> bytes:
    """The fixed text that every host of that family runs."""
    return Path(__file__).with_name(_SCRIPTS[os]).read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a session is given: the command that it starts, and the stdin of that. ``ends``: nothing follows,
    and whatever reads it is to know."""

    command: str
    stdin: bytes
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sent to hosts of one family: the script, its SHA-256 in hex, and the items as words."""

    os: OS
    script: bytes
    sha256: str
    items: tuple[Item, ...]
    words: tuple[str, ...]

    @property
    def max_answer_bytes(self) -> int:
        """No honest answer is larger: each item has its bound, and so have its frames and its stderr."""
        return sum(item.max_bytes + _AROUND_BYTES for item in self.items) + _AROUND_BYTES

    @property
    def max_sections(self) -> int:
        """No honest answer has more: each item begins and ends, or is skipped, and the visit is done. What
        comes before the first frame line is a section, too."""
        return 2 * len(self.items) + 2

    def order(self, host: Host, *, nonce: str, run_id: str, prompt: str, ready: str) -> Order:
        """What the session of that host is given; the words are those of :meth:`command`."""
        if self.os is OS.WINDOWS and host.connection is Connection.SSH:
            arguments = self.arguments(nonce=nonce, run_id=run_id, tier0=host.tier0)
            return Order(command=BOOTSTRAP, stdin=piped(self.script, arguments), ends=True)
        command = self.command(
            host.become, nonce=nonce, run_id=run_id, prompt=prompt, ready=ready, tier0=host.tier0
        )
        return Order(command=command, stdin=self.script)

    def arguments(self, *, nonce: str, run_id: str, tier0: bool) -> tuple[str, ...]:
        """Those of the script for Windows."""
        return (nonce, run_id, "tier0" if tier0 else "member", *self.words)

    def command(
        self,
        become: Become,
        *,
        nonce: str,
        run_id: str,
        prompt: str = "",
        ready: str = "",
        tier0: bool = False,
    ) -> str:
        """What a session starts. On Linux the one command line of a visit, of words that sh, csh, fish and
        rbash read alike; over WinRM the arguments of the script, one a line.

        Under ``become: shell`` sudo asks with ``prompt`` on stderr, and ``ready`` on stdout says that
        the script may be sent: before it, what is written to stdin would be read as a password.
        """
        if self.os is OS.WINDOWS:
            return "\n".join(self.arguments(nonce=nonce, run_id=run_id, tier0=tier0))
        inner = " ".join(("sh -s --", become.value, nonce, run_id, *self.words))
        if become is not Become.SHELL:
            return inner
        return f"sudo -S -p {prompt} sh -c 'echo {ready}; exec {inner}'"


def plan_visit(items: Sequence[Item], check: CheckMode, os: OS = OS.LINUX) -> Plan:
    """The plan for the items of that family; ``check`` says when ``azcmagent check`` runs."""
    chosen = tuple(_with_check(item, check) for item in items if item.os is os)
    kept = tuple(item for item in chosen if item is not None)
    text = script(os)
    return Plan(
        os=os,
        script=text,
        sha256=hashlib.sha256(text).hexdigest(),
        items=kept,
        words=tuple(map(_WORDS[os], kept)),
    )


def sudoers(items: Sequence[Item], user: str) -> str:
    """The drop-in for ``become: reads``: one exact command line for each privileged read (sudoers(5))."""
    # What timeout and find start is looked up as root: never along the login's own PATH.
    head = (
        "# fleet: what `become: reads` may run as root, and nothing else.\n"
        f'Defaults:{user} !requiretty, secure_path="{SECURE_PATH}"\n'
    )
    lines = dict.fromkeys(
        f"{user} ALL=(root) NOPASSWD: {_sudoers_argv(item)}" for item in items if item.needs_root
    )
    return head + "\n".join(lines) + "\n"


def _with_check(item: Item, check: CheckMode) -> Item | None:
    if item.name != CHECK_ITEM or check is CheckMode.AUTO:
        return item
    return None if check is CheckMode.NEVER else replace(item, when="always")


def keeps_end(item: Item) -> bool:
    """Whether the script keeps the end of what is too long, and not its beginning."""
    return item.newest or _is_kept(item)


def _is_kept(item: Item) -> bool:
    return item.name.startswith(KEPT_ITEM)


def _keep(item: Item) -> str:
    return "all" if _is_kept(item) else "newest" if item.newest else "oldest"


def _linux_word(item: Item) -> str:
    # One byte more than is wanted tells a whole answer from a cut one; what is kept loses its exit code.
    size = item.max_bytes + 1 + (CODE_BYTES if _is_kept(item) else 0)
    fields = (
        item.name,
        "root" if item.needs_root else "user",
        item.when,
        str(item.timeout_s),
        str(size),
        _keep(item),
        "@".join(_STAND_INS.get(word, word) for word in item.argv),
    )
    return ":".join(fields)


def _windows_word(item: Item) -> str:
    fields = (item.name, item.when, str(item.timeout_s), str(item.max_bytes + 1), _keep(item), *item.argv)
    return "|".join(fields)


_WORDS = {OS.LINUX: _linux_word, OS.WINDOWS: _windows_word}


def _sudoers_argv(item: Item) -> str:
    return " ".join(("/usr/bin/timeout -k 2", str(item.timeout_s), *map(_sudoers_escape, item.argv)))


def _sudoers_escape(word: str) -> str:
    return "".join("\\" + char if char in ",:=\\*?[]!" else char for char in word)
