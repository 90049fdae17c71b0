"""Many runs at once: which they are, how they are stacked, what came of them."""
