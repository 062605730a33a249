"""The tags of `tags.yaml`: checked against the columns there are, and what they say of each customer of a night."""
