"""Hydra finds our launchers here."""
