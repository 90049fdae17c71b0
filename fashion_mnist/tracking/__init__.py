"""Event logs to MLflow stores. `store.py` imports mlflow; a training process stays away from it."""
