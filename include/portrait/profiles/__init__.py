"""From features and model outputs to the profile tables of one run, published all at once.

`build.build` computes the tables as Parquet, `publish.load` brings them into the warehouse where no
reader looks, `publish.audit` judges them, `publish.publish` moves the pointer and `publish.rollback` moves it
back; `show.summary` is the look at the published night. Import them from their modules: this one stays light.
"""
