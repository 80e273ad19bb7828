"""The command line's shell (WinRS): an encoded PowerShell command in, a request, text and exit code out."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections.abc import Callable
from xml.etree import ElementTree as ET

from fleet.lab.winrm.outbox import Outbox
from fleet.lab.winrm.shells import Shell
from fleet.lab.winrm.soap import SHELL, bad_message
from fleet.lab.winrm.words import Reply, Request, Respond

_ENCODED = re.compile(r"powershell(?:\.exe)?\s.*-e(?:nc(?:odedcommand)?)?\s+([A-Za-z0-9+/=]+)", re.IGNORECASE)
_PIECE_BYTES = 32 << 10


class CmdShell(Shell):
    """A shell that runs ``powershell -EncodedCommand`` and knows no other program."""

    def __init__(
        self, body: ET.Element, user: str, respond: Respond, on_bug: Callable[[BaseException], None]
    ) -> None:
        super().__init__(body.get("ShellId") or str(uuid.uuid4()).upper(), user, respond, on_bug)

    def command(self, body: ET.Element) -> str:
        command_id = body.get("CommandId") or str(uuid.uuid4()).upper()
        words = [body.findtext(f"{{{SHELL}}}Command") or ""]
        words += [argument.text or "" for argument in body.findall(f"{{{SHELL}}}Arguments")]
        self._outboxes[command_id] = Outbox(command_id)
        self._run(command_id, self._answer(command_id, " ".join(words)))
        return command_id

    def send(self, body: ET.Element) -> None:
        raise bad_message("A simulated command reads no input.")

    def signal(self, command_id: str, code: str) -> None:
        self.outbox(command_id)
        self._forget(command_id)

    async def _answer(self, command_id: str, line: str) -> None:
        reply = await self._reply(line)
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        for stream, lines in (("stdout", reply.output), ("stderr", reply.errors)):
            data = "".join(f"{text}\r\n" for text in lines).encode()
            for start in range(0, len(data), _PIECE_BYTES):
                self._outboxes[command_id].put(stream, data[start : start + _PIECE_BYTES])
        self._outboxes[command_id].end(int(reply.is_failed))

    async def _reply(self, line: str) -> Reply:
        found = _ENCODED.fullmatch(line.strip())
        if not found:
            text = f"'{line.split(' ')[0]}' is not recognized as an internal or external command,"
            return Reply(errors=(text, "operable program or batch file."), is_failed=True)
        script = base64.b64decode(found[1]).decode("utf-16-le")
        return await self._respond(Request(script=script, command="", arguments=(), user=self.user))
