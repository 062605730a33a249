"""Portrait: one trustworthy customer profile table every morning."""
