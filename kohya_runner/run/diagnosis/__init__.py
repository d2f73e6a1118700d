"""Why a training failed: the log in, the cause and what to write instead out."""
