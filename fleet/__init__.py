"""Diagnose the Azure Connected Machine agent across a fleet of hosts."""

__version__ = "0.1.0"
