"""The repeat folders that the trainer reads: decided, then built."""
