"""An inventory file into its hosts, all mistakes at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import Mistake
from fleet.inventory.document import Mistakes, load_document
from fleet.inventory.resolve import Resolver, named
from fleet.inventory.tree import parse_tree
from fleet.inventory.variables import Places
from fleet.model.host import Host

_SSH_LOGIN = (
    "user is inherited from where SSH's settings stand, and has no domain; if it is meant for connection: "
    "winrm, say it once more in the Windows group"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The hosts of a file. ``lines``: by host and variable where it says what this machine must have.
    ``doubts``: what may be meant otherwise, and is no mistake.
    """

    path: Path
    hosts: tuple[Host, ...]
    lines: Mapping[str, Mapping[str, int]]
    doubts: tuple[Mistake, ...]


def load_inventory(path: Path, home: Path | None = None) -> tuple[Host, ...]:
    """The hosts of :func:`read_inventory` alone."""
    return read_inventory(path, home).hosts


def read_inventory(path: Path, home: Path | None = None) -> Inventory:
    """The hosts of an inventory, in the order in which it first mentions them, every variable resolved.

    Args:
        path: The YAML file; relative paths in it start at its folder.
        home: What ``~`` stands for; None is the home folder of the user.

    Raises:
        InventoryError: with every mistake of the file. Nothing was contacted.
    """
    mistakes = Mistakes(path)
    root = load_document(path, mistakes)
    places = Places(path.absolute().parent, _home(home, mistakes))
    tree = parse_tree(root, places, mistakes)
    resolver = Resolver(tree, str(places.home / ".ssh/known_hosts"), mistakes)
    hosts = resolver.resolve()
    # With other mistakes there may be hosts that were not understood.
    if tree.is_empty and not mistakes:
        mistakes.add(0, "the inventory names no host")
    mistakes.settle()
    doubts = tuple(
        Mistake(path=str(path), line=line, text=f"{named(names)}: {_SSH_LOGIN}", key="user")
        for line, names in sorted(resolver.ssh_logins.items())
    )
    return Inventory(path=path, hosts=hosts, lines=resolver.lines, doubts=doubts)


def _home(home: Path | None, mistakes: Mistakes) -> Path:
    try:
        return (home or Path.home()).absolute()
    except RuntimeError:
        mistakes.add(0, "this user has no home folder that '~' could stand for: set HOME")
        mistakes.settle()
        raise
