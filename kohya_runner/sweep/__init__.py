"""Many runs of one recipe, and what they may cost together."""
