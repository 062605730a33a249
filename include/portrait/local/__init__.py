"""Portrait on one machine: the embedded PostgreSQL, Airflow's own services as child processes, and `make run`.

Also what every Airflow set-up needs: the pools of `sources.yaml`, alerts about late sources.
"""
