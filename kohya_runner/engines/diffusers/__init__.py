"""diffusers' InstructPix2Pix examples: their rows, rules, steps and folders."""
