"""The network as plain PyTorch modules."""
