"""What is wrong with a machine, a store or a folder, and what can be freed."""
