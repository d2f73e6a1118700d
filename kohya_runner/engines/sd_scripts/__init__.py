"""sd-scripts: its families, rules, steps, options and painter."""
