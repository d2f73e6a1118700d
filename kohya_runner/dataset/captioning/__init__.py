"""Captions made by a template, a tagger or a model behind an address, and captions edited in bulk."""
