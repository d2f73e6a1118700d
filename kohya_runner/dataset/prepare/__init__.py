"""Versions of a dataset: made from a folder that is never touched, with a manifest back to it."""
