"""What the processes of `local` share: imported once by the server that they are forked from."""

import gc

from fashion_mnist.runs.signals import ignore_signals

ignore_signals()  # a terminal sends them to this server too, whose children would go with it
gc.disable()  # see __main__
from fashion_mnist.launchers import worker  # noqa: E402, F401 (after gc is off; to be there)

gc.freeze()
gc.enable()
