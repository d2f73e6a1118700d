"""After the run, whoever is there to see it: the message, the pod, the limits of time and money."""
