"""What recorded runs say, alone and beside each other. Nothing here trains or needs a config."""
