"""What a run measures, and how other programs read it."""
