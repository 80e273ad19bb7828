"""What Linux prints of itself."""

from __future__ import annotations

from fleet.parse.host import parse_unit_proxies


def test_the_proxy_of_each_unit_is_told_without_its_password() -> None:
    shown = (
        b"Id=himdsd.service\nEnvironment=HTTPS_PROXY=http://user:secret@10.0.0.8:3128 NO_PROXY=a\n"
        b"EnvironmentFiles=\n\n"
        b"Id=gcad.service\nEnvironment=\nEnvironmentFiles=\n\n"
        b'Id=extd.service\nEnvironment="https_proxy=http://10.0.0.9:3128"\nEnvironmentFiles=\n\n'
        b"Id=arcproxyd.service\nEnvironment=HTTPS_PROXY=x\nEnvironmentFiles=/etc/x (ignore_errors=yes)\n"
    )
    assert parse_unit_proxies(shown) == {
        "himdsd.service": "10.0.0.8:3128",
        "gcad.service": "",
        "extd.service": "10.0.0.9:3128",
    }
