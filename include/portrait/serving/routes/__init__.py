"""The API's questions, one file a subject."""
