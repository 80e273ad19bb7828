"""What the agent logs every day is no candidate for a rule: only the newest candidates of a log are kept."""

from __future__ import annotations

import pytest

from fleet.classify.engine import Classifier
from fleet.packs.load import load_pack

ANCHORS = Classifier(load_pack()).anchors
EVERYDAY = (
    r'level=info msg="Loaded agent configuration" Path="C:\ProgramData\AzureConnectedMachineAgent\Config"',
    'level=info msg="Loaded agent configuration" Path=/var/opt/azcmagent/agentconfig.json',
    'level=info msg="Heartbeat sent" Status Code=200 VM Id=11111111-2222-3333-4444-555555555555',
    'level=debug msg="Checking connectivity to https://weu.his.arc.azure.com, proxy status: not used"',
    'level=debug msg="https://login.microsoftonline.com is available, using TLS 1.3"',
    'level=info msg="Token request" URL=http://localhost:40342/metadata/identity/oauth2/token Code=200',
    'level=info msg="Proxied request" Host=agentserviceapi.guestconfiguration.azure.com:443 Status Code=200',
    "[PULL_CLIENT] [INFO] Finished consistency check, 3 of 3 assignments compliant",
    "[EXTENSIONMGR] [INFO] No pending extension requests, extension state is Enabled",
    "[EXTENSIONMGR] [INFO] Getting extensions from management.azure.com for the resource",
)


@pytest.mark.parametrize("line", EVERYDAY)
def test_an_everyday_line_holds_no_anchor(line: str) -> None:
    assert [anchor for anchor in ANCHORS if anchor in line.casefold()] == []
