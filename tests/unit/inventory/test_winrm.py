"""Windows hosts in inventories: what they resolve to, and which mistakes are told where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.inventory.load import read_inventory
from fleet.model.host import Host, SecretRef, Winrm
from fleet.model.words import OS, Become, Connection, Scheme, WinrmAuth

DIGITS = "0123456789abcdef" * 4
LOGIN = "defaults: {connection: winrm, user: 'CORP\\fleet', password: env:PW}\n"

Load = Callable[[str], dict[str, Host]]
Refuse = Callable[[str], list[tuple[int, str]]]


def of(load: Load, host: str) -> Host:
    return load(f"{LOGIN}hosts:\n  h: {host}\n")["h"]


def test_a_windows_host_is_sealed_http_with_negotiate_unless_told(load: Load) -> None:
    host = of(load, "{address: win01.corp.example}")
    assert host == Host(
        name="h",
        address="win01.corp.example",
        port=5985,
        connection=Connection.WINRM,
        os=OS.WINDOWS,
        user="CORP\\fleet",
        password=SecretRef(scheme="env", target="PW"),
        winrm=Winrm(scheme=Scheme.HTTP, auth=WinrmAuth.NEGOTIATE),
    )
    assert host.os is OS.WINDOWS


def test_every_variable(load: Load, tmp_path: Path) -> None:
    host = of(
        load,
        "{scheme: https, auth: certificate, client_cert: keys/c.pem, client_key: ~/c.key,"
        " tier0: true,"
        " ca_file: /etc/ca.pem, proxy: 'socks5h://bastion:1080', configuration_name: FleetVisit}",
    )
    assert host.port == 5986
    assert host.winrm == Winrm(
        scheme=Scheme.HTTPS,
        auth=WinrmAuth.CERTIFICATE,
        client_cert=str(tmp_path / "keys/c.pem"),
        client_key="/home/ops/c.key",
        ca_file="/etc/ca.pem",
        proxy="socks5h://bastion:1080",
        configuration_name="FleetVisit",
    )
    assert host.tier0
    kerberos = of(
        load, "{auth: kerberos, keytab: f.keytab, spn_service: WSMAN, spn_host: '{host}.corp.example'}"
    )
    assert kerberos.winrm == Winrm(
        auth=WinrmAuth.KERBEROS,
        keytab=str(tmp_path / "f.keytab"),
        spn_service="WSMAN",
        spn_host="h.corp.example",
    )


@pytest.mark.parametrize(
    ("told", "scheme", "port"),
    [
        ("{}", Scheme.HTTP, 5985),
        ("{scheme: https}", Scheme.HTTPS, 5986),
        ("{port: 5986}", Scheme.HTTPS, 5986),
        ("{port: 8443, scheme: https}", Scheme.HTTPS, 8443),
        ("{port: 8080}", Scheme.HTTP, 8080),
    ],
)
def test_scheme_and_port_follow_each_other(load: Load, told: str, scheme: Scheme, port: int) -> None:
    host = of(load, told)
    assert (host.winrm.scheme, host.port) == (scheme, port)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("strict", "strict"),
        ("off", "off"),
        (f"sha256:{DIGITS}", f"sha256:{DIGITS}"),
        ("sha256:" + ":".join(DIGITS.upper()[n : n + 2] for n in range(0, 64, 2)), f"sha256:{DIGITS}"),
        ("sha256:" + "-".join(DIGITS.upper()[n : n + 2] for n in range(0, 64, 2)), f"sha256:{DIGITS}"),
    ],
)
def test_how_a_certificate_is_checked(load: Load, told: str, kept: str) -> None:
    assert of(load, f"{{port: 5986, cert_validation: '{told}'}}").winrm.cert_validation == kept


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("http://proxy.corp.example:3128/", "http://proxy.corp.example:3128"),
        ("socks5h://[2001:db8::1]:1080", "socks5h://[2001:db8::1]:1080"),
    ],
)
def test_proxies(load: Load, told: str, kept: str) -> None:
    assert of(load, f"{{proxy: '{told}'}}").winrm.proxy == kept


@pytest.mark.parametrize("user", ["CORP\\fleet", "fleet@corp.example", ".\\fleet", "WIN01\\Administrator"])
def test_users_of_windows(load: Load, user: str) -> None:
    assert of(load, f"{{user: '{user}'}}").user == user


@pytest.mark.parametrize("user", ["fleet", "name", "svc", "_x"])
def test_a_backslash_in_double_quotes_is_told_in_plain_words(refuse: Refuse, user: str) -> None:
    ((at, text),) = refuse(
        f'defaults: {{connection: winrm, password: env:PW, user: "CORP\\{user}"}}\nhosts: [h]\n'
    )
    assert at == 1
    assert r"write 'DOM\user' in single quotes" in text


def test_one_inventory_for_both_families(load: Load) -> None:
    hosts = load(
        "defaults: {user: ops, key_file: id, become: shell, become_password: env:SUDO, ca_file: /ca.pem,\n"
        "           host_key_policy: 'off', auth: kerberos, keytab: k, scheme: http}\n"
        "groups:\n"
        "  windows:\n"
        "    vars: {connection: winrm, user: 'CORP\\fleet'}\n"
        "    hosts: [w1, w2]\n"
        "hosts: {l1: , w2: {scheme: https, auth: ntlm, password: env:PW}}\n"
    )
    linux, sealed, over_tls = hosts["l1"], hosts["w1"], hosts["w2"]
    assert (linux.connection, linux.port, linux.become) == (Connection.SSH, 22, Become.SHELL)
    assert linux.winrm == Winrm()
    assert (sealed.key_file, sealed.become, sealed.become_password) == (None, Become.NONE, None)
    assert (sealed.winrm.scheme, sealed.winrm.auth) == (Scheme.HTTP, WinrmAuth.KERBEROS)
    assert (sealed.winrm.ca_file, over_tls.winrm.ca_file, over_tls.winrm.keytab) == (None, "/ca.pem", None)
    assert (over_tls.winrm.scheme, over_tls.port) == (Scheme.HTTPS, 5986)


def test_what_is_said_of_certificates_is_not_said_of_a_host_without_one(load: Load) -> None:
    text = (
        LOGIN
        + "groups: {w: {vars: {cert_validation: 'off', scheme: https}, hosts: {a: {scheme: http}, b: }}}\n"
    )
    hosts = load(text)
    assert [hosts[name].winrm.cert_validation for name in "ab"] == ["strict", "off"]


def test_hosts_that_are_reached_alike_share_what_says_so(load: Load) -> None:
    hosts = load(LOGIN + "hosts: {'h[1-3]': {proxy: 'http://p:1'}, i: {}}\n")
    assert hosts["h1"].winrm is hosts["h3"].winrm
    assert hosts["h1"].winrm is not hosts["i"].winrm


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("{scheme: ftp}", "'ftp' is not one of its words"),
        ("{auth: credssp}", "known are: kerberos, negotiate, ntlm, basic, certificate"),
        ("{auth: basic}", "would send the password readable: set scheme: https"),
        ("{auth: basic, port: 5985}", "would send the password readable"),
        ("{auth: certificate, client_cert: c, client_key: k}", "works over https only: set scheme: https"),
        ("{auth: certificate, scheme: https}", "needs client_cert and client_key"),
        ("{auth: certificate, scheme: https, client_cert: c}", "needs client_cert and client_key"),
        ("{keytab: k}", "keytab is used with auth: kerberos only"),
        ("{client_key: k}", "client_key is used with auth: certificate only"),
        ("{auth: kerberos, address: 198.51.100.4}", "knows hosts by name"),
        ("{auth: kerberos, address: '2001:db8::4'}", "knows hosts by name"),
        ("{port: 22}", "port 22 is that of SSH"),
        ("{scheme: https, port: 5985}", "port 5985 is for http, and the scheme is https"),
        ("{scheme: http, port: 5986}", "port 5986 is for https, and the scheme is http"),
        ("{ca_file: ca.pem}", "ca_file is used over https only: set scheme: https"),
        ("{scheme: http, cert_validation: 'off'}", "cert_validation is used over https only"),
        ("{scheme: https, cert_validation: 'off', ca_file: ca.pem}", "with cert_validation: strict only"),
        ("{scheme: https, cert_validation: none}", "strict, off, or sha256:"),
        ("{scheme: https, cert_validation: 'sha256:abcd'}", "64 hex digits"),
        (f"{{scheme: https, cert_validation: 'sha256:{DIGITS[:40]}'}}", "SHA-1 thumbprint"),
        ("{key_file: id}", "key_file is for connection: ssh, and this is winrm"),
        ("{become: shell}", "become is for connection: ssh, and this is winrm; over winrm the account's own"),
        ("{host_key_policy: 'off'}", "host_key_policy is for connection: ssh"),
        ("{connection: ssh, key_file: id, tier0: true}", "tier0 is for Windows hosts: os: windows, or"),
        ("{os: linux}", "os: linux is not for connection: winrm"),
        ("{os: windows, become: shell}", "become is for Linux hosts: on Windows the account's own rights"),
        ("{connection: local, auth: ntlm}", "auth is for connection: winrm, and this is local"),
        ("{spn_host: 'a b'}", "is not a host name"),
        ("{spn_service: HTTP/win01}", "the first part of a service principal name"),
        ("{configuration_name: 'http://x/y'}", "letters, digits and _ . -"),
        ("{tier0: yes}", "true or false is wanted"),
        ("{proxy: 'socks5://p:1080'}", "socks5h://HOST:PORT or http://HOST:PORT"),
        ("{proxy: 'http://p'}", "socks5h://HOST:PORT or http://HOST:PORT"),
        ("{proxy: 'http://p:70000'}", "socks5h://HOST:PORT or http://HOST:PORT"),
        ("{proxy: 'http://u:hunter2@p:3128'}", "no credentials here"),
        ("{proxy: 'http://u:hunter2@[p'}", "no credentials here"),
        ("{proxy: 'hunter2'}", "socks5h://HOST:PORT or http://HOST:PORT"),
    ],
)
def test_one_slip_is_one_mistake(refuse: Refuse, host: str, part: str) -> None:
    ((line, text),) = refuse(f"{LOGIN}hosts:\n  h: {host}\n")
    assert line == 3
    assert part in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("{password: env:PW}", r"auth: negotiate needs a user (DOM\user or user@domain)"),
        ("{user: a}", "auth: negotiate needs password; with a keytab or a ticket it is auth: kerberos"),
        ("{user: a, auth: ntlm}", "auth: ntlm needs password"),
        ("{user: a, auth: basic, scheme: https}", "auth: basic needs password"),
        ("{auth: kerberos, keytab: k}", "auth: kerberos needs a user with keytab"),
        ("{auth: kerberos, password: env:PW}", "auth: kerberos needs a user with password"),
    ],
)
def test_what_a_login_needs(refuse: Refuse, host: str, part: str) -> None:
    ((line, text),) = refuse(f"defaults: {{connection: winrm}}\nhosts:\n  h: {host}\n")
    assert (line, text.startswith(f"h: {part}")) == (3, True), text


def test_a_ticket_or_a_certificate_needs_no_user(load: Load) -> None:
    hosts = load(
        "defaults: {connection: winrm}\n"
        "hosts:\n"
        "  a: {auth: kerberos}\n"
        "  b: {auth: certificate, scheme: https, client_cert: c, client_key: k}\n"
    )
    assert {host.user for host in hosts.values()} == {""}


def test_http_that_nobody_chose_is_told_where_certificates_are_spoken_of(refuse: Refuse, load: Load) -> None:
    text = LOGIN + "groups:\n  w:\n    vars: {ca_file: ca.pem}\n    hosts: [a, b]\n"
    assert refuse(text) == [(4, "a, b: ca_file is used over https only: set scheme: https")]
    chosen = load(text.replace("winrm,", "winrm, scheme: http,"))
    assert chosen["a"].winrm.scheme is Scheme.HTTP


def test_a_group_with_a_certificate_authority_may_hold_a_host_whose_certificate_is_off(
    load: Load, refuse: Refuse
) -> None:
    text = LOGIN + "groups:\n  w:\n    vars: {scheme: https, ca_file: ca.pem}\n    hosts: {a: {%s}}\n"
    assert load(text % "cert_validation: 'off'")["a"].winrm.cert_validation == "off"
    off = (
        LOGIN
        + "groups:\n  w:\n    vars: {scheme: https, cert_validation: 'off'}\n    hosts: {a: {ca_file: ca}}\n"
    )
    assert refuse(off) == [(5, "a: ca_file is used with cert_validation: strict only")]
    both = (
        LOGIN
        + "groups:\n  w:\n    vars: {scheme: https, cert_validation: 'off', ca_file: ca}\n    hosts: [a, b]\n"
    )
    assert refuse(both) == [(4, "ca_file is used with cert_validation: strict only")]


@pytest.mark.parametrize("variable", ["key_file: ~/.ssh/id", "become: shell", "host_key_policy: off"])
def test_what_a_group_of_winrm_says_of_ssh_is_named(refuse: Refuse, variable: str) -> None:
    group = (
        f"win:\n    vars: {{connection: winrm, user: u, password: env:P, {variable}}}\n    hosts: [w1, w2]"
    )
    name = variable.partition(":")[0]
    assert refuse(f"groups:\n  {group}\n") == [
        (3, f"{name} is for connection: ssh, and the group 'win' is winrm")
    ]


WINDOWS = "groups:\n  win:\n    vars: {connection: winrm, password: env:P%s}\n    hosts: ['w[1:3]']\n"


@pytest.mark.parametrize(
    ("defaults", "own", "doubted"),
    [
        ("{user: ops, key_file: id}", "", "w[1-3]"),
        ("{user: ops, become: shell}", "", "w[1-3]"),
        ("{user: ops, key_file: id}", ", user: ops", ""),
        ("{user: 'CORP\\ops', key_file: id}", "", ""),
        ("{user: ops@corp.example, key_file: id}", "", ""),
        ("{user: ops}", "", ""),
        (
            "{user: ops, key_file: id}",
            ", scheme: https, auth: certificate, client_cert: c, client_key: k",
            "",
        ),
    ],
)
def test_a_user_that_stands_with_settings_of_ssh_is_doubted_once(
    tmp_path: Path, defaults: str, own: str, doubted: str
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(f"defaults: {defaults}\n{WINDOWS % own}hosts: {{l1: {{key_file: k}}}}\n")
    told = [str(doubt) for doubt in read_inventory(path).doubts]
    assert [text.partition(": user is inherited")[0] for text in told] == (
        [f"{path}:1: {doubted}"] if doubted else []
    )
