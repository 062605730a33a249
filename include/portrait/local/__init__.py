"""Portrait on one machine: the embedded PostgreSQL, Airflow's own services as child processes, and `make run`."""
