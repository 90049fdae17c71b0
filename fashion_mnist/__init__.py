"""Multilayer perceptrons on Fashion-MNIST, described in YAML, trained as stacks."""

import os

# libgomp's waiting threads spin: one busy neighbour makes a step many times slower. A short spin
# keeps the quiet speed and loses the catastrophe. libgomp reads this once, when torch loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
