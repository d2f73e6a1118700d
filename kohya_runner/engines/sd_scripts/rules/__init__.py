"""The rules of sd-scripts, by what they are about."""
