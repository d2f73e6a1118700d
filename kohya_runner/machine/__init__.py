"""Facts about this machine and the Hub, and the checks over them."""
