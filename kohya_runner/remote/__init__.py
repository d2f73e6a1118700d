"""One recipe on another machine: a place that is asked, a stay that is recorded, results that come back verified."""
