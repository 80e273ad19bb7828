"""Simulated WinRM servers that speak the real protocol, one a host."""
