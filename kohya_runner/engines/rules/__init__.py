"""Rules between options: what a rule is, and how rules are evaluated."""
