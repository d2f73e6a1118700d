"""What watches a run: NaN, divergence, standstill, disk and memory."""
