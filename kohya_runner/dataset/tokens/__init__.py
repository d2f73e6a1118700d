"""How many tokens a text encoder makes of a caption."""
