"""From the published profiles and consent to groups of customers: who is in them, since when, and where they were sent.

`refresh.refresh` asks for the members of one audience, `refresh.record_overlaps` counts whom two share,
`export.export_audience` sends one where it belongs. Import them from their modules: this one stays light.
"""
