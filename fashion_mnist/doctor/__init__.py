"""What is wrong with this machine, its data, stores and outputs, and what to do about it."""
