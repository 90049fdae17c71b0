"""A recorded run is trained again from what its store has of it, and the two are compared."""
