"""Problems in datasets: checks over what was read, one row each."""
