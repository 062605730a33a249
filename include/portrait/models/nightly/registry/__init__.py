"""MLflow: every night's candidates as runs, every registered version with its aliases; a copy of what `ops` decided."""
