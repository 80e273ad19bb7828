"""Answers a command on a simulated Windows host that runs an SSH server: the one command line of a visit."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from fleet.collect.powershell import BOOTSTRAP
from fleet.lab.faults import LOST, TOLD, Client
from fleet.lab.windows import LanguageMode
from fleet.lab.winrm.words import Reply, Request, Respond

# What PowerShell would do with any other text nobody here can tell.
_INPUT = re.compile(
    rb"\$arguments = @\(\n(?P<words>(?:'(?:[^'\n]|'')*'\n)*)\)\n& \{\n(?P<script>.*)\} @arguments\n\Z",
    re.DOTALL,
)
_CONSTRAINED = (
    "Cannot invoke method. Method invocation is supported only on core types in this language mode.",
    "At line:1 char:1",
    "+ & ([scriptblock]::Create([Console]::In.ReadToEnd()))",
    "    + CategoryInfo          : InvalidOperation: (:) [], RuntimeException",
    "    + FullyQualifiedErrorId : MethodInvocationNotSupportedInConstrainedLanguage",
)


async def serve_windows(client: Client, respond: Respond, mode: LanguageMode, user: str) -> None:
    """One visit, ended with 1 where nothing of it was run. Like PowerShell it waits for the end of stdin."""
    with suppress(*LOST):
        try:
            reply = await _reply(client, respond, mode, user)
        except TOLD:
            reply = Reply(is_failed=True)
        # Windows ends lines with two characters.
        client.stderr.write("".join(f"{line}\r\n" for line in reply.errors).encode())
        for text in reply.output:
            client.stdout.write(f"{text}\r\n".encode())
            await client.stdout.drain()
        client.exit(1 if reply.is_failed else 0)


async def _reply(client: Client, respond: Respond, mode: LanguageMode, user: str) -> Reply:
    if client.command != BOOTSTRAP:
        return _unknown(f"no command {client.command!r}")
    if mode is LanguageMode.CONSTRAINED:
        return Reply(errors=_CONSTRAINED, is_failed=True)
    text = await client.stdin.read()
    found = _INPUT.match(text)
    if found is None:
        return _unknown("no such text on stdin")
    words = tuple(line[1:-1].replace("''", "'") for line in found["words"].decode().split("\n")[:-1])
    reply = await respond(Request(script=found["script"].decode(), command="", arguments=words, user=user))
    await asyncio.sleep(reply.delay_s)
    return reply


def _unknown(what: str) -> Reply:
    return Reply(errors=(f"this simulated host knows {what}",), is_failed=True)
