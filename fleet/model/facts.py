"""Every fact that rules may test: its name, its kind, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a fact's value is, for who compares it."""

    YES_NO = "yes or no"
    WHOLE = "whole number"
    NUMBER = "number"
    WORD = "word in lower case"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One fact: ``name`` is dotted (``agent.status``), ``says`` a phrase for the catalogue of facts."""

    name: str
    kind: Kind
    says: str


_AGENT = (
    ("agent.installed", Kind.YES_NO, "the agent's program is there"),
    ("agent.answers", Kind.YES_NO, "the agent's program answered"),
    ("agent.onboarded", Kind.YES_NO, "the agent has an identity in Azure"),
    ("agent.status", Kind.WORD, "connected, disconnected, expired, as the agent says it"),
    ("agent.version", Kind.TEXT, "the agent's version, for at_least()"),
    ("agent.vm_id", Kind.WORD, "the machine's id, which a copied machine has of its original"),
    ("agent.resource_id", Kind.WORD, "subscription/resource group/name of the machine in Azure"),
    ("agent.support_left_days", Kind.WHOLE, "days that the agent's release is supported still; below 0: was"),
    ("agent.offline_days", Kind.WHOLE, "days since the last heartbeat by the host's clock"),
    ("agent.error_code", Kind.TEXT, "the last error that the agent shows of itself"),
    ("agent.heartbeat_age_s", Kind.WHOLE, "seconds since the last heartbeat by the host's clock"),
    ("agent.leftovers", Kind.TEXT, "services that an agent no longer there left behind"),
    ("agent.fault", Kind.TEXT, "module and exception of the agent program's last crash"),
    ("certificate.expires_in_s", Kind.WHOLE, "seconds that the identity's certificate has left"),
    ("certificate.expires_in_days", Kind.WHOLE, "days that it has left"),
    ("check.unreachable", Kind.TEXT, "required endpoints that azcmagent check did not reach, or none"),
    ("check.unreachable_connect", Kind.TEXT, "the same of those that only connecting needs"),
    ("check.unreachable_notification", Kind.TEXT, "the same of those that bring Azure's commands"),
    ("check.unreachable_optional", Kind.TEXT, "the same of those that few features need"),
    ("check.private", Kind.TEXT, "endpoints with a private address, or none"),
    ("check.tls", Kind.WORD, "the oldest TLS that an endpoint was spoken to with, as in tls 1.2"),
    ("check.proxy", Kind.WORD, "they were tried through a proxy: set, not set, in part"),
    ("clock.offset_s", Kind.NUMBER, "the host's clock minus ours, in seconds"),
    ("clock.skew_s", Kind.NUMBER, "how far the host's clock is off, in seconds"),
    ("config.mode", Kind.WORD, "full or monitor"),
    ("config.proxy.url", Kind.TEXT, "the proxy the agent was told to use"),
    ("config.proxy.bypass", Kind.TEXT, "what goes around that proxy"),
    ("config.connection.type", Kind.WORD, "direct, proxy or gateway"),
    ("config.extensions.enabled", Kind.WORD, "true or false"),
    ("config.extensions.allowlist", Kind.TEXT, "the extensions that may be installed"),
    ("config.extensions.blocklist", Kind.TEXT, "the extensions that may not be installed"),
    ("config.guestconfiguration.enabled", Kind.WORD, "true or false"),
    ("config.incomingconnections.enabled", Kind.WORD, "true or false"),
    ("extensions.failed", Kind.TEXT, "names of the extensions that failed"),
    ("esu.eligibility", Kind.WORD, "whether the host may have Extended Security Updates"),
    ("esu.license", Kind.YES_NO, "a licence file for Extended Security Updates is there"),
    ("identity.config", Kind.YES_NO, "the agent's file agentconfig.json is there"),
    ("identity.profile", Kind.YES_NO, "the profile of the account himds is there"),
    ("identity.certificate", Kind.YES_NO, "the identity's certificate is in the store or in a file"),
    ("identity.certificate_file", Kind.YES_NO, "the identity's certificate is in a file of the agent"),
    ("identity.store_certificates", Kind.WHOLE, "certificates in the store of the account himds"),
    ("install.last", Kind.WORD, "how the last installation ended"),
    ("install.failed", Kind.TEXT, "msiexec's code of the last installation, which failed"),
)
_HOST = (
    ("host.key_sha256", Kind.TEXT, "the fingerprint of the SSH host key that it was known by"),
    ("host.kernel", Kind.TEXT, "kernel and architecture"),
    ("host.timezone", Kind.TEXT, "the host's time zone"),
    ("host.uptime_s", Kind.WHOLE, "seconds since the host started"),
    ("host.edition", Kind.TEXT, "the edition of Windows"),
    ("host.installation_type", Kind.WORD, "server, server core, client"),
    ("host.name", Kind.TEXT, "what the host calls itself"),
    ("host.version", Kind.TEXT, "the version of Windows, for at_least()"),
    ("host.build", Kind.NUMBER, "the build of Windows, with its revision behind the point"),
    ("host.domain", Kind.TEXT, "the domain the host belongs to"),
    ("host.workgroup", Kind.TEXT, "the workgroup the host belongs to"),
    ("host.domain_role", Kind.WORD, "what the host is in its domain"),
    ("host.language", Kind.TEXT, "the language of Windows"),
    ("host.powershell", Kind.TEXT, "the version of PowerShell"),
    ("host.language_mode", Kind.WORD, "the language mode of PowerShell"),
    ("space.lowest_free_mb", Kind.WHOLE, "the least free space, in MiB, of the places the agent writes to"),
    ("space.lowest_place", Kind.TEXT, "the place that has the least"),
    ("policy.profile_cleanup", Kind.WORD, "the policy that deletes old user profiles: set, not set"),
    ("policy.profile_cleanup_days", Kind.WHOLE, "after how many days it deletes them"),
    ("proxy.services", Kind.TEXT, "the proxy in the environment of the agent's services, where all have one"),
    ("proxy.services_differ", Kind.TEXT, "what each of them has, where they differ"),
    ("proxy.machine", Kind.TEXT, "the proxy of the machine's environment"),
    ("proxy.bypass", Kind.TEXT, "what goes around that proxy"),
    ("proxy.winhttp", Kind.TEXT, "the proxy of WinHTTP, which the agent does not use"),
    ("rights.logon_as_service", Kind.WORD, "a policy leaves himds that right: yes, no, no policy"),
    ("time.source", Kind.TEXT, "where the host has its time from"),
    ("time.service", Kind.WORD, "the state of the time service"),
    ("time.start_mode", Kind.WORD, "how the time service starts: auto, manual, disabled"),
    ("tls.suites", Kind.WORD, "one of the suites that some agents need is on: ok, missing"),
    ("tls.protocols", Kind.TEXT, "what is switched for single protocols"),
    ("tls.tls12_client", Kind.WORD, "TLS 1.2 for clients: on, off, not by default"),
)
_ROLES = ("himds", "gcad", "extd", "arcproxy")
_SERVICE = (
    ("state", Kind.WORD, "running, stopped, failed, starting, absent, unknown"),
    ("start_mode", Kind.WORD, "auto, manual, disabled"),
    ("account", Kind.TEXT, "the account it runs under"),
    ("exit_code", Kind.TEXT, "how it ended last"),
    ("start_error", Kind.TEXT, "why its last start failed, a Win32 error"),
    ("restarts", Kind.WHOLE, "how often its manager started it again"),
    ("up_s", Kind.WHOLE, "seconds since it started"),
    ("crashes", Kind.WHOLE, "crashes that the event log tells of"),
    ("crashes_in_a_day", Kind.WHOLE, "the most of them within one day"),
    ("crash_age_s", Kind.WHOLE, "seconds since the last one"),
    ("fault", Kind.TEXT, "module and exception of the last one"),
)


def _all() -> Iterator[Known]:
    for name, kind, says in (*_AGENT, *_HOST):
        yield Known(name=name, kind=kind, says=says)
    for role in _ROLES:
        for name, kind, says in _SERVICE:
            yield Known(name=f"service.{role}.{name}", kind=kind, says=f"service {role}: {says}")


FACTS: Mapping[str, Known] = {known.name: known for known in _all()}
"""By name. What else is told of a host, as the free space of each place, is for its page and for no rule."""
