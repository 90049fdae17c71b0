"""Training and evaluation of a stack of networks: plain arguments, no configs."""
