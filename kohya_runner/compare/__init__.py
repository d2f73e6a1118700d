"""The epoch sweep: checkpoints in, contact sheet and report out."""
