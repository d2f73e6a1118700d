"""The trainer's own parser, read from its sources without importing them."""
