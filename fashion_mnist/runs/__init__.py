"""Configs to stacks to results to recorded runs. Below this room nothing sees a config."""
