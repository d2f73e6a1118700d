"""From files that were trained to a repository of the Hub: chosen, described, copied, uploaded and verified."""
