"""``launch --rehearse``: a few real steps, then figures for the whole run."""
