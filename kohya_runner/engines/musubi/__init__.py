"""musubi-tuner: its families, rules, buckets, steps, stages and painter."""
