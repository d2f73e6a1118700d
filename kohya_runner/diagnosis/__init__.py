"""The trainer's lines: what they say while it runs, and why it failed."""
