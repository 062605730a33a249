"""The profile API and its page: published tables, the champion's answers, for whoever holds a key.

`portrait serve` runs it; `create_app(settings)` is the application.
"""
