"""Visits Windows hosts over WinRM: pypsrp speaks PSRP in worker processes, where it stalls nobody."""
