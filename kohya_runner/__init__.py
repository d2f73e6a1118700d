"""One YAML recipe becomes a checked, guarded sd-scripts training run."""

__version__ = "0.1.0"
