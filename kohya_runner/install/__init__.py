"""The trainer's sources and its environment: found, made, asked."""
