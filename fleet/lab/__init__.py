"""Turns descriptions of hosts into a fleet on loopback that speaks real SSH."""
