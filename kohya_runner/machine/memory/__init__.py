"""How much memory and disk each model architecture asks for."""
