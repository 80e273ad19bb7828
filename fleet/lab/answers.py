"""Turns a host's description into the texts its agent and its service manager print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from fleet.lab.describe import UNITS, HostDescription, UnitState
from fleet.lab.windows import SERVICES, ServiceState

_INSTANT = re.compile(r"\{([td])-(\d+)\}")
_STAMPS = {"t": "%Y-%m-%dT%H:%M:%SZ", "d": "%Y-%m-%d %H:%M:%S"}
_TITLES = {
    "himdsd": "Agent Service",
    "arcproxyd": "Azure Arc Proxy",
    "extd": "Extension Service",
    "gcad": "GC Service",
    "himds": "Agent Service",
    "arcproxy": "Azure Arc Proxy",
    "extensionservice": "Extension Service",
    "gcarcservice": "GC Service",
}
_WINDOWS_WORDS = {ServiceState.ABSENT: "unknown"}
_LOG_FILE = "/var/opt/azcmagent/log/himds.log"
_WINDOWS_LOG_FILE = r"C:\ProgramData\AzureConnectedMachineAgent\Log\himds.log"
_ENDPOINTS = (
    "login.microsoftonline.com",
    "management.azure.com",
    "gbl.his.arc.azure.com",
    "agentserviceapi.guestconfiguration.azure.com",
    "pas.windows.net",
)
_ACTIVE = {UnitState.RESTARTING: "activating", UnitState.ABSENT: "inactive"}
_SUB = {
    UnitState.ACTIVE: "running",
    UnitState.FAILED: "failed",
    UnitState.INACTIVE: "dead",
    UnitState.ABSENT: "dead",
    UnitState.RESTARTING: "auto-restart",
}
_RESTARTS = {UnitState.FAILED: 5, UnitState.RESTARTING: 412}
_UP_S = 93_000


def fill_instants(text: str, now: datetime) -> str:
    """Replace ``{t-60}`` by the instant 60 s before ``now`` (RFC 3339, UTC), ``{d-60}`` by date and time."""

    def stamp(match: re.Match[str]) -> str:
        return (now - timedelta(seconds=int(match[2]))).strftime(_STAMPS[match[1]])

    return _INSTANT.sub(stamp, text)


def fill_bytes(content: bytes, now: datetime) -> bytes:
    """The same in a text of any encoding that has ASCII in it as it is."""
    # Latin-1 gives every byte back as it was.
    return fill_instants(content.decode("latin-1"), now).encode("latin-1")


def render_expiry(days: int, now: datetime) -> str:
    """What ``openssl x509 -noout -enddate`` prints of a certificate that lasts so many days."""
    return (now + timedelta(days=days)).strftime("notAfter=%b %e %H:%M:%S %Y GMT\n")


def render_show_text(host: HostDescription, now: datetime) -> str:
    """What ``azcmagent show`` prints."""
    agent = host.agent
    resource = _resource_id(host)
    rows = {
        "Resource Name": agent.resource_name,
        "Resource Group Name": agent.resource_group,
        "Resource Namespace": "Microsoft.HybridCompute" if agent.resource_name else "",
        "Resource Id": resource,
        "Subscription ID": agent.subscription_id,
        "Tenant ID": agent.tenant_id,
        "Location": agent.location,
        "Cloud": agent.cloud,
        "Agent Version": agent.version,
        "Agent Logfile": _WINDOWS_LOG_FILE if host.windows else _LOG_FILE,
        "Agent Status": agent.status,
        "Agent Last Heartbeat": _heartbeat(host, now),
        "Agent Error Code": agent.error_code,
        "Agent Error Details": agent.error_details,
        "Agent Error Timestamp": fill_instants("{t-300}", now) if agent.error_code else "",
        "Using HTTPS Proxy": agent.https_proxy,
        "Proxy Bypass List": "",
        "Upstream Proxy": "",
        "Cloud Provider": "N/A",
    }
    lines = [f"{label:<40}: {value}" for label, value in rows.items()]
    lines += ["Cloud Metadata", "Dependent Service Status"]
    lines += [f"{f'  {_TITLES[name]} ({name})':<40}: {word}" for name, word in _services(host)]
    lines.append(f"{'Disabled Features':<40}: ")
    return "\n".join(lines) + "\n"


def render_show_json(host: HostDescription, now: datetime) -> str:
    """What ``azcmagent show -j`` prints."""
    agent = host.agent
    services = [
        {"displayName": _TITLES[name], "serviceName": name, "status": word} for name, word in _services(host)
    ]
    fields = {
        "resourceName": agent.resource_name,
        "resourceGroup": agent.resource_group,
        "resourceId": _resource_id(host),
        "subscriptionId": agent.subscription_id,
        "tenantId": agent.tenant_id,
        "location": agent.location,
        "cloud": agent.cloud,
        "agentVersion": agent.version,
        "status": agent.status,
        "lastHeartbeat": _heartbeat(host, now),
        "agentErrorCode": agent.error_code,
        "agentErrorDetails": agent.error_details,
        "httpsProxy": agent.https_proxy,
        "proxyBypass": [],
        "services": services,
    }
    return json.dumps(fields, indent=2) + "\n"


def render_config(host: HostDescription) -> str:
    """What ``azcmagent config list`` prints."""
    settings = {
        "incomingconnections.enabled": "true",
        "incomingconnections.ports": "[]",
        "connection.type": "default",
        "proxy.url": host.agent.https_proxy,
        "proxy.bypass": "[]",
        "extensions.allowlist": "[]",
        "extensions.blocklist": "[]",
        "guestconfiguration.enabled": "true",
        "extensions.enabled": "true",
        "config.mode": "full",
    } | dict(host.config)
    lines = [f"  {key:<54}: {value}" for key, value in settings.items()]
    return "\n".join(("Local Configuration Settings", *lines)) + "\n"


def render_check(host: HostDescription, now: datetime) -> str:
    """What ``azcmagent check`` prints: log lines, then the table."""
    stamp = fill_instants("{t-0}", now)
    closed = host.agent.unreachable
    endpoints = dict.fromkeys((*_ENDPOINTS, *closed))
    lines = [
        f'time="{stamp}" level=info msg="Testing connectivity to endpoints that are needed to connect..."'
    ]
    lines.append(f"{'ENDPOINT':<62}|{'REACHABLE':<10}|{'PRIVATE':<8}|{'TLS':<8}|PROXY")
    for name in endpoints:
        words = ("false", "unknown", "unknown") if name in closed else ("true", "false", "TLS 1.3")
        proxy = "set" if host.agent.https_proxy else "not set"
        lines.append(f"{f'https://{name}':<62}|{words[0]:<10}|{words[1]:<8}|{words[2]:<8}|{proxy}")
    return "\n".join(lines) + "\n"


def render_unit(host: HostDescription, unit: str, now: datetime) -> str:
    """All properties ``systemctl show`` knows of a unit (named without its suffix), one a line."""
    state = host.unit(unit)
    known = state is not UnitState.ABSENT
    restarts = _RESTARTS.get(state, 0)
    up = (now - timedelta(seconds=_UP_S)).strftime("%a %Y-%m-%d %H:%M:%S UTC")
    down = (now - timedelta(seconds=7_800)).strftime("%a %Y-%m-%d %H:%M:%S UTC")
    is_down = known and state is not UnitState.ACTIVE
    properties = {
        "Result": "exit-code" if restarts else "success",
        "NRestarts": str(restarts),
        "ExecMainStatus": "1" if restarts else "0",
        "Environment": "",
        "EnvironmentFiles": "/lib/systemd/system.conf.d/azcmagent.conf (ignore_errors=yes)" if known else "",
        "Id": f"{unit}.service",
        "LoadState": "loaded" if known else "not-found",
        "ActiveState": _ACTIVE.get(state, state.value),
        "SubState": _SUB[state],
        "UnitFileState": "enabled" if known else "",
        "InactiveEnterTimestamp": down if is_down else "",
        "ActiveEnterTimestamp": up if known else "",
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def _services(host: HostDescription) -> Iterator[tuple[str, str]]:
    """Names and states in the agent's own words, which are those of the system."""
    if host.windows is None:
        for unit in UNITS:
            state = host.unit(unit)
            yield unit, _ACTIVE.get(state, state.value)
        return
    for name in SERVICES:
        service = host.windows.service(name, is_installed=not host.agent.is_absent).state
        yield name.lower(), _WINDOWS_WORDS.get(service, service.value.replace("-", " "))


def _heartbeat(host: HostDescription, now: datetime) -> str:
    age_s = host.agent.heartbeat_age_s
    return "" if age_s is None else fill_instants(f"{{t-{age_s}}}", now)


def _resource_id(host: HostDescription) -> str:
    agent = host.agent
    if not agent.resource_name:
        return ""
    return (
        f"/subscriptions/{agent.subscription_id}/resourceGroups/{agent.resource_group}"
        f"/providers/Microsoft.HybridCompute/machines/{agent.resource_name}"
    )
