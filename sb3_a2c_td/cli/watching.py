"""What ``watch`` runs: episodes of a saved model, in a window or into a file."""
