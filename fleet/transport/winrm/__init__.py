"""Visits Windows hosts over WinRM: pypsrp speaks PSRP in worker processes, where it stalls nobody."""

from fleet.transport.winrm.transport import WinrmTransport

__all__ = ["WinrmTransport"]
