"""Secrets and bodies under lock: the one door to `cryptography`. Nothing here reads a clock, and chance comes from `Clock`."""
