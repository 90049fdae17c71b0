"""Hydra finds our launcher and our sweeper here."""
