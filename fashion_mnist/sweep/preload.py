"""What the processes of `lanes` have in common: imported once by the server that they fork from."""

import gc

gc.disable()  # see cli.main
from fashion_mnist.runs import trainer  # noqa: E402, F401
from fashion_mnist.sweep import plan  # noqa: E402, F401

gc.freeze()
gc.enable()
