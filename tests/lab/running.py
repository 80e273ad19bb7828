"""Hosts that say any bytes, and all that a run says of them."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.collect.plan import script
from fleet.lab.servers import Lab
from tests.lab.program import Call

SCRIPT_LINES = len(script().splitlines())
# Stands in for the host's sudo, which starts the visit: it knows the nonce, as any host does, and says what
# it likes in place of the visit's script. {answer} is a shell command line.
LIAR = """\
#!/bin/sh
line=$6 ready=${{6#echo }}
ready=${{ready%%;*}} nonce=${{line#*-- shell }}
nonce=${{nonce%% *}}
echo "$ready"
head -n {lines} >/dev/null
printf '\\n%s FLEET1 {form} %s\\n' "$nonce" "$(date +%s)"
{answer}
"""


def put(lab: Lab, name: str, files: Mapping[str, bytes]) -> None:
    """Give a host these bytes: ``answers/show.json``, ``programs/sudo`` or a path of its tree."""
    for path, data in files.items():
        kind, _, rest = path.partition("/")
        target = lab.tree(name) / (f"lab-{kind}/{rest}" if kind in ("answers", "programs") else path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if kind == "programs":
            target.chmod(0o700)


def lying(answer: str, form: str = "plain") -> dict[str, bytes]:
    """The files of a host that makes up its answer; see ``LIAR``."""
    return {"programs/sudo": LIAR.format(answer=answer, form=form, lines=SCRIPT_LINES).encode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """All that one run put anywhere, as bytes by where it is; ``code`` is its exit code."""

    folder: Path
    code: int | None
    places: Mapping[str, bytes]

    @property
    def hosts(self) -> dict[str, dict[str, object]]:
        """The rows of report.json by host."""
        document = json.loads(self.places["report.json"])
        return {row["host"]: row for row in document["hosts"]}


def database_url(folder: Path) -> str:
    return f"sqlite:///{folder}/fleet.db"


def collect(lab: Lab, folder: Path, *words: str, shown: Sequence[str] | None = None) -> Said:
    """One whole run with a log file and all reports, then ``fleet show`` of those ``shown``, or of all."""
    names = [host.name for host in lab.descriptions] if shown is None else shown
    call = Call(folder, *collect_words(lab, folder), *words)
    code, _, _ = call.ended()
    places = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    places |= {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    for name in names:
        place = folder / f"show-{name}"
        place.mkdir()
        assert Call(place, "show", name, "--db", database_url(folder)).ended()[0] == 0
        places[f"fleet show {name}"] = (place / "stdout").read_bytes() + (place / "stderr").read_bytes()
    places |= {f"stored of {name}": body for name, body in bodies(folder / "fleet.db").items()}
    return Said(folder=folder, code=code, places=places)


def collect_words(lab: Lab, folder: Path) -> tuple[str, ...]:
    log = ("--log-file", f"{folder}/fleet.log", "-v")
    place = ("--db", database_url(folder), "--out", f"{folder}/out")
    # Few at once and given time: the machine runs other tests.
    limits = ("--connect-timeout", "60", "--concurrency", "20", "--winrm-concurrency", "20")
    return ("collect", str(lab.inventory), *place, *log, *limits)


def bodies(database: Path) -> dict[str, bytes]:
    """What is stored of each host's answer, as it is and decompressed as far as anything in it goes."""
    connection = sqlite3.connect(database)
    query = (
        "SELECT hosts.name, captures.body FROM captures"
        " JOIN visits ON visits.id = captures.visit_id JOIN hosts ON hosts.id = visits.host_id"
    )
    found = {name: body + b"\n" + _opened(body) for name, body in connection.execute(query)}
    connection.close()
    return found


def _opened(body: bytes) -> bytes:
    data, texts = body.partition(b"\n")[2], []
    while data:
        engine = zlib.decompressobj(31)
        try:
            texts.append(engine.decompress(data))
        except zlib.error:
            break
        data = engine.unused_data
    return b"".join(texts)
